"""Which files a person does not want read: ignored by git's rules or ours, or of a name that says it may hold keys.

Torch-free; knows neither languages nor what is in a file. Rules are read anew when their file has changed.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal

from pathspec import GitIgnoreSpec

IGNORE_FILES = (".gitignore", ".codellamaignore")
_HOLDING_KEYS = (
    ".env .env.* *.pem *.key *.p12 *.pfx *.jks *.keystore *.kdbx *.asc *.gpg id_rsa* id_dsa* id_ecdsa* id_ed25519* "
    ".netrc .npmrc .pypirc .htpasswd *.tfvars *.tfstate secret.* secrets.* *.secret *.secrets credential.* "
    "credentials.* *credentials*.json *secret*.json *secret*.y*ml .aws/ .ssh/ .gnupg/ .kube/"
)
SECRET = GitIgnoreSpec.from_lines(_HOLDING_KEYS.split())
"""What by its name may hold keys or passwords: never read, whatever is in it."""

Stamp = tuple[Path, int, int]
"""A file as it is now: where, when it was changed (nanoseconds), how long (bytes)."""


class IgnoreRules:
    """The ignore files met on the way down from ``root``; as in git, the one nearest to a file decides."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._rules: dict[PurePosixPath, GitIgnoreSpec] = {}

    def enter(self, folder: PurePosixPath) -> None:
        """Read the ignore files of ``folder``, which is relative to the root, if it has any."""
        stamps = [_stamp(self._root / folder / name) for name in IGNORE_FILES]
        if present := tuple(stamp for stamp in stamps if stamp):
            self._rules[folder] = _parsed(present)

    def match(self, name: str) -> bool:
        """Is the file ``name``, or the folder if it ends with a slash, ignored? Not asked of the folders around it."""
        path = PurePosixPath(name)
        for folder in path.parents:
            rules = self._rules.get(folder)
            if rules is None:
                continue
            local = str(path.relative_to(folder)) + ("/" if name.endswith("/") else "")
            verdict = rules.check_file(local).include
            if verdict is not None:
                return verdict
        return False


def why_private(path: Path, root: Path) -> Literal["secret", "ignored"] | None:
    """Why the file ``path`` must not be read, if so: by its name, or by an ignore file between ``root`` and it.

    As in git nothing below an ignored folder is wanted. ``path`` is absolute and need not exist; outside ``root`` only
    its name counts.
    """
    if SECRET.match_file(path.as_posix().lstrip("/")):
        return "secret"
    if not path.is_relative_to(root):
        return None
    rules, here = IgnoreRules(root), PurePosixPath()
    *folders, name = path.relative_to(root).parts
    for folder in folders:
        rules.enter(here)
        here /= folder
        if rules.match(f"{here}/"):
            return "ignored"
    rules.enter(here)
    return "ignored" if rules.match(str(here / name)) else None


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return path, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=1024)
def _parsed(files: tuple[Stamp, ...]) -> GitIgnoreSpec:
    lines: list[str] = []
    for path, _, _ in files:
        try:
            lines += path.read_text("utf-8", errors="replace").splitlines()
        except OSError:
            continue
    return GitIgnoreSpec.from_lines(lines)
