"""Which files a person does not want read: ignored by git's rules or ours, or of a name that says it may hold keys.

Torch-free; knows neither languages nor what is in a file. Rules are read anew when their file has changed. An ignore
file that can't be used hides all files of its folder: it may have named any of them.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal

from inference.text.patterns import MAX_PATTERNS, Patterns, TooCostlyError, constant_patterns
from inference.text.regular_files import NotRegularError, TooLongError, read_regular

log = logging.getLogger(__name__)

IGNORE_FILES = (".gitignore", ".codellamaignore")
_HOLDING_KEYS = (
    ".env .env.* *.pem *.key *.p12 *.pfx *.jks *.keystore *.kdbx *.asc *.gpg id_rsa* id_dsa* id_ecdsa* id_ed25519* "
    ".netrc .npmrc .pypirc .htpasswd *.tfvars *.tfstate secret.* secrets.* *.secret *.secrets credential.* "
    "credentials.* *credentials*.json *secret*.json *secret*.y*ml .aws/ .ssh/ .gnupg/ .kube/"
)
SECRET = constant_patterns(_HOLDING_KEYS.split())
"""What by its name may hold keys or passwords: never read, whatever is in it."""

MAX_BYTES = 128 * 1024
"""Largest ignore file. Parsed, its patterns take up to forty times as much memory."""
REMEMBERED = 64
"""Folders whose ignore files are not parsed anew."""
SECONDS = 2.0
"""Processor time to check one path."""

Why = Literal["secret", "ignored", "unclear"]
"""Why a file must not be read; ``unclear`` if an ignore file can't be used."""
Report = Callable[[str], object]
"""Is told what is wrong with an ignore file, a sentence at a time, as often as the file is met."""
Stamp = tuple[Path, int, int, int, int]
"""A file as it is now: where, its mode, its inode, when it was changed (nanoseconds), how long (bytes)."""


@lru_cache(maxsize=1024)
def log_problem(problem: str) -> None:
    """Log what is wrong with an ignore file, once."""
    log.warning("%s", problem)


@dataclass(frozen=True, slots=True)
class _Rules:
    """The rules in the ignore files of a folder; without ``patterns`` nothing in the folder may be read."""

    patterns: Patterns | None
    problems: tuple[str, ...] = ()


class IgnoreRules:
    """The ignore files met on the way down from ``root``; as in git, the one nearest to a file decides.

    ``until`` is a time of ``time.thread_time`` after which files are unclear.
    """

    def __init__(self, root: Path, report: Report = log_problem, until: float | None = None) -> None:
        self._root = root
        self._report = report
        self._until = until
        self._rules: dict[PurePosixPath, _Rules] = {}

    def enter(self, folder: PurePosixPath) -> None:
        """Read the ignore files of ``folder``, which is relative to the root, if it has any.

        Rules of folders that are not around it are forgotten: ask about what it holds before entering another.
        """
        self._rules = {above: rules for above, rules in self._rules.items() if folder.is_relative_to(above)}
        stamps = [_stamp(self._root / folder / name) for name in IGNORE_FILES]
        if present := tuple(stamp for stamp in stamps if stamp):
            self._rules[folder] = rules = self._read(present)
            for problem in rules.problems:
                self._report(problem)

    def _read(self, present: tuple[Stamp, ...]) -> _Rules:
        if self._until is not None and time.thread_time() > self._until:
            return _Rules(None)
        try:
            return _parsed(present)
        except OSError as error:  # not remembered: it may be readable next time
            return _Rules(None, (f"{present[0][0]} can't be read ({error.strerror}). {_HIDDEN}",))

    def match(self, name: str) -> bool:
        """Is the file ``name``, or the folder if it ends with a slash, ignored? Not asked of the folders around it."""
        return self.why(name) is not None

    def why(self, name: str) -> Literal["ignored", "unclear"] | None:
        """Return why the file or folder must not be read, if so."""
        path = PurePosixPath(name)
        for folder in path.parents:
            rules = self._rules.get(folder)
            if rules is None:
                continue
            if rules.patterns is None:
                return "unclear"
            local = str(path.relative_to(folder)) + ("/" if name.endswith("/") else "")
            try:
                verdict = rules.patterns.verdict(local, self._until)
            except TooCostlyError as error:
                self._report(f"An ignore file of {self._root / folder} {error}. {_HIDDEN}")
                return "unclear"
            if verdict is not None:
                return "ignored" if verdict else None
        return None


_HIDDEN = "No file of its folder is shown to a model until you change it."


def why_private(path: Path, root: Path, report: Report = log_problem) -> Why | None:
    """Return why the file ``path`` must not be read, if so: by its name, or by an ignore file between ``root`` and it.

    As in git nothing below an ignored folder is wanted. ``path`` is absolute and need not exist; outside ``root`` only
    its name counts.
    """
    if SECRET.match_file(path.as_posix().lstrip("/")):
        return "secret"
    if not path.is_relative_to(root):
        return None
    rules, here = IgnoreRules(root, report, time.thread_time() + SECONDS), PurePosixPath()
    *folders, name = path.relative_to(root).parts
    for folder in folders:
        rules.enter(here)
        here /= folder
        if why := rules.why(f"{here}/"):
            return why
    rules.enter(here)
    return rules.why(str(here / name))


def _stamp(path: Path) -> Stamp | None:
    """Return None if there is no such file."""
    try:
        found = os.lstat(path)
    except PermissionError:
        return path, 0, 0, 0, 0
    except (OSError, ValueError):
        return None
    return path, found.st_mode, found.st_ino, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=REMEMBERED)
def _parsed(files: tuple[Stamp, ...]) -> _Rules:
    patterns: Patterns | None = Patterns()
    problems: list[str] = []
    for path, mode, *_ in files:
        try:
            found = Patterns.parse(_lines(path, mode))
        except (NotRegularError, TooLongError, TooCostlyError) as error:
            problems.append(f"{path} {_described(error)}. {_HIDDEN}")
            patterns = None
            continue
        problems += _bad(path, found.bad)
        patterns = patterns and patterns.then(found)
    return _Rules(patterns, tuple(problems))


def _lines(path: Path, mode: int) -> list[str]:
    """As git reads them: a byte order mark is skipped, and names need not be UTF-8."""
    if mode and not stat.S_ISREG(mode):
        raise NotRegularError
    return read_regular(path, MAX_BYTES, follow=False).decode("utf-8-sig", errors="surrogateescape").split("\n")


def _described(error: NotRegularError | TooLongError | TooCostlyError) -> str:
    if isinstance(error, TooCostlyError):
        return f"{error} (at most {MAX_PATTERNS:,} are used)"
    if isinstance(error, TooLongError):
        return f"has more than {MAX_BYTES // 1024} KiB"
    return "is a link or no regular file, so its patterns are not read"


def _bad(path: Path, bad: list[tuple[int, str]]) -> list[str]:
    """Return one sentence for all that is no pattern."""
    if not bad:
        return []
    (number, line), *more = bad
    others = f", and {len(more)} more" if more else ""
    return [f"{path} has lines that are no pattern and are skipped: line {number} ({line[:40]!r}){others}."]
