"""A repository whose author tries to run code, read other files and hang the server.

Every trap creates a file in ``witness`` when it runs. The files outside the repository contain ``SECRET``.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECRET = "PLANTED-SECRET-8c1f"
JUNK_BYTES = 500_000
"""More than the server reads of the output of one git command."""
EVIL_PATTERN = "a*" * 20 + "b"
EVIL_NAME = "a" * 200 + ".py"
HOOKS = ("post-index-change", "pre-commit", "fsmonitor-watchman", "post-checkout", "reference-transaction")
ODD_NAMES = ("new\nline.py", "bell\x07.py", "--output=x.py", ":(top)x.py", os.fsdecode(b"not\xffutf8.py"))
BAD_LINES = "!\nbuild\\\n[z-a]\n/\n//\n[\n!!\n**\\\n"


@dataclass(frozen=True)
class HostileRepository:
    """A hostile repository and the files that detect its traps.

    Attributes:
        root: the folder to open.
        outside: a folder beside it that must not be read.
        witness: contains one file for each trap that ran.
        command: a program that creates a file in ``witness``, named by its first argument.
    """

    root: Path
    outside: Path
    witness: Path
    command: Path

    def trap(self, name: str) -> str:
        """Return a shell command that creates the file ``name`` in ``witness``."""
        return f"{shlex.quote(str(self.command))} {name}"

    def python_trap(self, name: str) -> str:
        """Return Python source that creates the file ``name`` in ``witness``."""
        return f"import pathlib\npathlib.Path({str(self.witness)!r}, {name!r}).touch()\n"

    def assert_untouched(self, *seen: str) -> None:
        """Fail if a trap ran, or if a text from the server contains something from outside."""
        assert sorted(one.name for one in self.witness.iterdir()) == []
        assert [text for text in seen if SECRET in text] == []

    def add_git_traps(self, repository: Path, configuration: Path | None = None) -> None:
        """Set a trap as every command that a repository's configuration can name."""
        lines = [f'[{section}]\n\t{key} = "{_quoted(self.trap(name))}"\n' for section, key, name in _COMMANDS]
        with (configuration or repository / ".git" / "config").open("a") as file:
            file.write("".join(lines) + '[filter "evil"]\n\trequired = true\n')
        (repository / ".gitattributes").write_text("*.py filter=evil diff=evil\n")

    def add_hooks(self, folder: Path) -> None:
        """Write every hook that a diff could run."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in HOOKS:
            (folder / name).write_text(f"#!/bin/sh\n{self.trap(f'hook-{name}')}\n")
            (folder / name).chmod(0o755)


_COMMANDS = [
    ("core", "fsmonitor", "fsmonitor"),
    ("core", "pager", "pager"),
    ("core", "editor", "editor"),
    ("core", "sshCommand", "ssh"),
    ("core", "gitProxy", "proxy"),
    ("core", "alternateRefsCommand", "alternates"),
    ("core", "askPass", "askpass"),
    ("credential", "helper", "credential"),
    ("gpg", "program", "gpg"),
    ("diff", "external", "external"),
    ("pager", "diff", "pager-diff"),
    ("alias", "diff", "alias-diff"),
    ("alias", "config", "alias-config"),
    ('diff "evil"', "command", "driver"),
    ('diff "evil"', "textconv", "textconv"),
    ('filter "evil"', "clean", "clean"),
    ('filter "evil"', "smudge", "smudge"),
    ('filter "evil"', "process", "process"),
]


def hostile_repository(folder: Path) -> HostileRepository:
    """Build one below ``folder``. It contains nested repositories and folders with hostile ignore files."""
    made = HostileRepository(folder / "project", folder / "outside", folder / "witness", folder / "trap")
    for path in (made.root, made.outside, made.witness):
        path.mkdir()
    made.command.write_text(f'#!/bin/sh\n: > {shlex.quote(str(made.witness))}/"$1"\nexit 0\n')
    made.command.chmod(0o755)
    (made.outside / "secret.py").write_text(f"KEY = '{SECRET}'\n")
    commit(made.root, {"a.py": "one = 1\n", "linked/b.py": "two = 2\n", "was_file": "three\n"})
    _change(made)
    made.add_git_traps(made.root)
    made.add_hooks(made.root / ".git" / "hooks")
    for name, add in REPOSITORIES.items():
        add(made, made.root / name)
    for name in IGNORE_FILES:
        add_ignore_file(made.root / name, name)
    return made


def commit(repository: Path, files: dict[str, str]) -> None:
    """Create a repository with one commit of ``files``."""
    for name, text in files.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)
    git(repository, "init", "-q")
    git(repository, "add", "--", *files)
    git(repository, "commit", "-q", "-m", "first")


def git(folder: Path, *arguments: str) -> str:
    """Run git as the repository's author would, before the traps are set."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    author = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ["git", "-c", "core.hooksPath=/dev/null", *arguments]
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True, env={**own, **author, "LC_ALL": "C"}
    ).stdout


def _change(made: HostileRepository) -> None:
    """Stage and change files: odd names, links to the outside, a file replaced by a folder with a private file."""
    root = made.root
    for name in ODD_NAMES:
        (root / name).write_text("new = 1\n")
    (root / "link.py").symlink_to(made.outside / "secret.py")
    (root / "was_file").unlink()
    (root / "was_file").mkdir()
    (root / "was_file" / ".env").write_text(f"KEY={SECRET}\n")
    git(root, "add", "--", ".")
    (root / "a.py").write_text("one = 2\n")
    (root / "linked" / "b.py").unlink()
    (root / "linked").rmdir()
    (root / "linked").symlink_to(made.outside)
    (made.outside / "b.py").write_text(f"KEY = '{SECRET}'\n")
    _program(root / "git", made.trap("program"))


def _program(path: Path, command: str) -> None:
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)


def _hidden_filter(made: HostileRepository, repository: Path) -> None:
    """Add a filter whose name comes after more names than are read."""
    commit(repository, {"a.py": "one = 1\n"})
    (repository / "a.py").write_text("one = 2\n")
    _add_junk(repository / ".git" / "config")
    made.add_git_traps(repository)


def _add_junk(configuration: Path) -> None:
    names = (f"{'junk' * 25}{n:08}" for n in range(JUNK_BYTES // 100))
    with configuration.open("a") as file:
        file.writelines(f'[filter "{name}"]\n\tclean = cat\n' for name in names)


def _buried(made: HostileRepository, bare: Path) -> None:
    """Add a bare repository that looks like a folder of files, so that a clone contains it."""
    commit(bare, {"a.py": "one = 1\n"})
    for part in list((bare / ".git").iterdir()):
        part.rename(bare / part.name)
    (bare / ".git").rmdir()
    (bare / "a.py").write_text("one = 2\n")
    with (bare / "config").open("a") as file:
        file.write("[core]\n\tbare = false\n\tworktree = .\n")
    _add_junk(bare / "config")
    made.add_git_traps(bare, bare / "config")
    made.add_hooks(bare / "hooks")


def _elsewhere(made: HostileRepository, repository: Path) -> None:
    """Add a repository whose work tree is the outside folder."""
    commit(repository, {"secret.py": "nothing\n"})
    git(repository, "config", "core.worktree", str(made.outside))
    made.add_git_traps(repository)


def _borrowed(made: HostileRepository, repository: Path) -> None:
    """Add a ``.git`` file that names a repository outside, whose files look deleted here."""
    commit(made.outside / "private", {"secret.py": f"KEY = '{SECRET}'\n"})
    repository.mkdir()
    (repository / ".git").write_text(f"gitdir: {made.outside / 'private' / '.git'}\n")


def _fetching(made: HostileRepository, repository: Path) -> None:
    """A partial clone without the objects to diff against, which configures a program to fetch them."""
    commit(repository, {"a.py": "one = 1\n"})
    blob = git(repository, "rev-parse", "HEAD:a.py").strip()
    (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    (repository / "a.py").write_text("one = 2\n")
    upload = _quoted(made.trap("uploadpack"))
    with (repository / ".git" / "config").open("a") as file:
        file.write("[core]\n\trepositoryformatversion = 1\n[extensions]\n\tpartialClone = origin\n")
        file.write(f'[remote "origin"]\n\turl = {made.outside}\n\tpromisor = true\n\tuploadpack = "{upload}"\n')
    made.add_git_traps(repository)


REPOSITORIES = {
    "hidden_filter": _hidden_filter,
    "buried": _buried,
    "elsewhere": _elsewhere,
    "borrowed": _borrowed,
    "fetching": _fetching,
}
"""Nested repositories, by folder name."""

IGNORE_FILES = {
    "fifo": lambda path: os.mkfifo(path),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "stdin": lambda path: path.symlink_to("/dev/stdin"),
    "link": lambda path: path.symlink_to("../a.py"),
    "folder": lambda path: path.mkdir(),
    "huge": lambda path: path.write_text("*.sql\n" * 1_000_000),
    "costly": lambda path: path.write_text(f"{EVIL_PATTERN}\n{'[!b-z]?*' * 20}b\n{'**/*a' * 200}b\n" * 100),
    "many": lambda path: path.write_text("".join(f"*{n}*x\n" for n in range(6_000))),
    "bad_lines": lambda path: path.write_text(BAD_LINES + "hidden.py\n"),
}
"""Writers of hostile ignore files, by the name of their kind and folder."""


def add_ignore_file(folder: Path, kind: str, name: str = ".gitignore") -> None:
    """Create a folder with an ignore file of that kind and some source files."""
    folder.mkdir()
    IGNORE_FILES[kind](folder / name)
    for file in ("a.py", "hidden.py", EVIL_NAME):
        (folder / file).write_text("x = 1\n")


@contextmanager
def working_in(made: HostileRepository) -> Iterator[None]:
    """Run with the repository as the current folder and first in PATH, by a relative name."""
    before, path = Path.cwd(), os.environ["PATH"]
    os.chdir(made.root)
    os.environ["PATH"] = f".:{path}"
    try:
        yield
    finally:
        os.chdir(before)
        os.environ["PATH"] = path


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
