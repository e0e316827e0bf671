"""Changes in a git repository, as git prints them.

git runs with fixed arguments, without a shell, and without any command that the repository's configuration names:
external diffs, text conversions, filters, monitors, hooks, pagers, fetches. If this cannot be guaranteed, there is no
diff. Files that must not reach a model are excluded by name before git reads their content.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inference.errors import CodeLlamaError
from inference.system.child_processes import search_path
from lsp_server.disk import repository

SECONDS = 10.0
MOST_FILES = 200
MOST_FILTERS = 500
MOST_BYTES = 400_000

_GIT = ("--no-pager", "--literal-pathspecs")
_DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--ignore-submodules=all")
_LAYOUT = ("--src-prefix=a/", "--dst-prefix=b/", "--unified=3", f"-O{os.devnull}")
_FILTERS = r"^filter\..*\.(clean|process|required)$"
_NEVER_LINKS = ("HEAD", "config", "config.worktree", "index", "objects", "refs", "packed-refs")
_SAFE = {
    "safe.bareRepository": "explicit",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.attributesFile": os.devnull,
    "core.quotePath": "false",
}
"""Settings for every call. They override the repository's. git ignores ``safe.*`` in its configuration."""


class GitError(CodeLlamaError, RuntimeError):
    """No diff can be shown."""


@dataclass(frozen=True, slots=True)
class Diff:
    """A diff.

    Attributes:
        text: the diff with LF line ends; empty if nothing has changed.
        left_out: (name, reason) of every changed file that is not in it.
    """

    text: str
    left_out: tuple[tuple[str, str], ...] = ()


async def diff(folder: Path, why_not: Callable[[Path], str], *, staged: bool = False) -> Diff:
    """Return the changes in and below ``folder`` since the last commit, or those ``staged`` for the next.

    ``why_not`` returns why a file must not be shown, or an empty string; it is called in a thread. Cancelling ends git.
    Raises GitError.
    """
    await _check_repository(folder)
    settings = await _filters_off(folder)
    arguments = [*_DIFF, *(["--cached"] if staged else await _since(folder)), "--relative"]
    listed = await _run(folder, *arguments, "--name-only", "-z", settings=settings)
    names = _names(listed)
    left_out = await asyncio.to_thread(_left_out, folder, names, why_not)
    shown = [name for name in names if name not in left_out]
    printed = b""
    if shown:
        printed = await _run(folder, *arguments, *_LAYOUT, "--", *shown, settings=settings, whole=False)
    reasons = tuple((os.fsencode(name).decode("utf-8", "replace"), why) for name, why in left_out.items())
    return Diff(printed.decode("utf-8", "replace").replace("\r\n", "\n"), reasons)


def _names(listed: bytes) -> list[str]:
    return [name for name in os.fsdecode(listed).split("\0") if name]


def _left_out(folder: Path, names: Collection[str], why_not: Callable[[Path], str]) -> dict[str, str]:
    """Return why files are not shown, by name.

    If a file became a folder, git treats its old name as the whole folder. It is left out if any file in the folder is.
    """
    reasons, until = {}, time.monotonic() + SECONDS
    for name in names:
        if why := why_not(folder / name):
            reasons[name] = why
        if time.monotonic() > until:
            raise GitError("Checking which changed files may be shown took too long, so no diff is shown.")
    shown = [name for name in names if name not in reasons]
    reasons |= dict.fromkeys(shown[MOST_FILES:], f"more than {MOST_FILES} files have changed")
    folders = {str(above): why for name, why in reasons.items() for above in Path(name).parents}
    return reasons | {name: folders[name] for name in shown[:MOST_FILES] if name in folders}


async def _check_repository(folder: Path) -> None:
    """Raise GitError unless git uses the repository around ``folder`` and reads no files outside it."""
    options = ("--path-format=absolute", "--show-toplevel", "--git-dir", "--git-common-dir")
    root, top, git_dir, common = _repository_paths(folder, await _run(folder, "rev-parse", *options))
    if top != root:
        raise GitError(f"The repository in {root} has its files in another folder, so no diff is shown.")
    history = _history(root / ".git", git_dir, common)
    if history == "submodule" and not await _run(folder, "config", "--get", "core.worktree", statuses=(0, 1)):
        history = "foreign"
    if history == "foreign":
        raise GitError(f"The repository in {root} has its history in another folder, so no diff is shown.")


def _repository_paths(folder: Path, printed: bytes) -> tuple[Path, Path, Path, Path]:
    """Return the folder with ``.git`` and git's own paths: work tree, git directory, common directory."""
    lines = os.fsdecode(printed).splitlines()
    if len(lines) != 3:
        raise GitError(f"git does not report the repository of {folder} clearly, so no diff is shown.")
    root, top, git_dir, common = (Path(os.path.realpath(path)) for path in (repository(folder / "x"), *lines))
    return root, top, git_dir, common


def _history(entry: Path, git_dir: Path, common: Path) -> Literal["own", "submodule", "foreign"]:
    """Classify the history that git reads for the work tree with ``entry`` as its ``.git``.

    The git directory of a linked work tree names the work tree; so does a submodule's if it sets ``core.worktree``.
    """
    if any((parent / name).is_symlink() for parent in (git_dir, common) for name in _NEVER_LINKS):
        return "foreign"
    if entry.is_dir():
        return "own" if not entry.is_symlink() and git_dir == common == entry else "foreign"
    if git_dir == common:
        return "submodule"
    return "own" if common == git_dir.parent.parent and _linked(git_dir) == entry else "foreign"


def _linked(git_dir: Path) -> Path | None:
    """Return the ``.git`` of the linked work tree that ``git_dir`` belongs to (gitrepository-layout(5))."""
    try:
        name = (git_dir / "gitdir").read_text("utf-8", "surrogateescape").removesuffix("\n")
    except OSError:
        return None
    return Path(os.path.realpath(git_dir / name))


async def _filters_off(folder: Path) -> dict[str, str]:
    """Return settings that disable every configured filter. Raises GitError if they cannot all be listed."""
    listed = await _run(folder, "config", "--name-only", "-z", "--get-regexp", _FILTERS, statuses=(0, 1))
    filters = dict.fromkeys(_names(listed))
    if len(filters) > MOST_FILTERS:
        raise GitError("The repository's configuration names too many filters, so no diff is shown.")
    return {name: "false" if name.endswith(".required") else "" for name in filters}


async def _since(folder: Path) -> list[str]:
    """Return the revision to compare with: HEAD, or nothing (the index) before the first commit."""
    head = await _run(folder, "rev-parse", "--verify", "--quiet", "HEAD", statuses=(0, 1))
    return ["HEAD"] if head else []


async def _run(
    folder: Path,
    *arguments: str,
    settings: Mapping[str, str] | None = None,
    statuses: Collection[int] = (0,),
    whole: bool = True,
) -> bytes:
    """Return git's output, at most ``MOST_BYTES``. With ``whole``, more raises GitError instead of being cut."""
    command = (_program(folder), *_GIT, "-C", str(folder), *arguments)
    process = await _started(command, _environment(folder, {**_SAFE, **(settings or {})}))
    try:
        async with asyncio.timeout(SECONDS):
            printed, ended = await _read(process)
            status = await process.wait() if ended else 0
    except TimeoutError:
        raise GitError(f"git took longer than {SECONDS:g} seconds.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if whole and not ended:
        raise GitError(f"git lists more in {folder} than can be checked, so no diff is shown.")
    if status not in (statuses if ended else (0,)):
        raise GitError(f"git can't tell what has changed in {folder} (exit status {status}).")
    return printed


async def _started(command: tuple[str, ...], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env=environment, cwd=os.sep
        )
    except OSError as error:
        raise GitError(f"git can't be run here ({error.strerror}); is it installed?") from error


async def _read(process: asyncio.subprocess.Process) -> tuple[bytes, bool]:
    """Return the output, and True if that is all of it."""
    assert process.stdout is not None
    try:
        return await process.stdout.readexactly(MOST_BYTES), False
    except asyncio.IncompleteReadError as end:
        return end.partial, True


def _program(folder: Path) -> str:
    """Return the path of git, never one inside the repository. Raises GitError."""
    found = shutil.which("git", path=_search_path(folder))
    if found is None:
        raise GitError("git can't be run here (it was not found); is it installed?")
    return found


def _search_path(folder: Path) -> str:
    """Return PATH without relative folders and without folders inside the repository."""
    root = os.path.realpath(repository(folder / "x"))
    entries = search_path().split(os.pathsep)
    return os.pathsep.join(entry for entry in entries if not Path(os.path.realpath(entry)).is_relative_to(root))


def _environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without ``GIT_*``, plus ``settings`` as in git-config(1)."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    given = {"GIT_CONFIG_COUNT": str(len(settings))}
    for n, (name, value) in enumerate(settings.items()):
        given |= {f"GIT_CONFIG_KEY_{n}": name, f"GIT_CONFIG_VALUE_{n}": value}
    fixed = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "PATH": _search_path(folder)}
    # keeps a partial clone from fetching; git before 2.45 knows only the second variable
    offline = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}
    return {**own, **given, **fixed, **offline}
