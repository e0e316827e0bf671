"""Ignore rules: files that must not be read, because an ignore file or a secret-looking name excludes them.

Patterns are those of ``.gitignore``, matched in bounded time. pathspec translates a pattern to a regular expression
that backtracks over every wildcard: with ten of them a match takes years. The expressions here try each wildcard once,
as CPython's ``fnmatch.translate`` does: a wildcard ends where the text after it is first found. Folder names may
contain line breaks.

Rules are read again when their file changes. An ignore file that cannot be used hides all files of its folder, since it
may have named any of them. Torch-free.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from inference.system.files import NotRegularError, TooLongError, read_regular

log = logging.getLogger(__name__)

MAX_LENGTH = 1_024
"""Characters of a pattern; a path may have twice as many. The cost of a match grows with both."""
MAX_PATTERNS = 5_000
PARSE_SECONDS, MATCH_SECONDS = 2.0, 0.5
"""CPU time to parse one file of patterns, and to match it with one path."""

_LEADING, _INNER, _STAR, _ONE = "^(?:.+/)?", "(?:/.+)?", "[^/]*", "[^/]"
_FOLDER, _END, _END_HERE = "ps_d", "|$)", r"|\Z)"
_ITEM = re.compile(r"\\.|\[\^?\]?[^\]]*\]", re.DOTALL)
_SPECIAL_IN_SETS, _ESCAPED = re.compile(r"[\[&~|]"), r"\\\g<0>"
_DOTS_MATCH_ALL, _NO_SLASH = "(?s)", "(?!/)"
_EDGE = r"(?=/|\Z)"


class TooCostlyError(ValueError):
    """There are too many patterns, or they take too long to match."""


class LinearPattern(GitIgnoreSpecPattern):
    """One pattern. The time to match is proportional to its length and the path's.

    Raises ValueError or re.error if a line is not a pattern.
    """

    __slots__ = ()

    @classmethod
    def pattern_to_regex(cls, pattern: str) -> tuple[str | None, bool | None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the regular expression, and True if its matches are ignored; (None, None) for a comment."""
        regex, include = super().pattern_to_regex(pattern)
        return (None if regex is None else _linear_regex(regex)), include


def constant_patterns(lines: Iterable[str]) -> GitIgnoreSpec:
    """Compile the trusted patterns ``lines``."""
    return GitIgnoreSpec.from_lines(lines, LinearPattern, backend="simple")


@dataclass
class Patterns:
    """Patterns of ignore files or of a setting. The last one that matches a path decides.

    Attributes:
        bad: lines that are not patterns, each with its number, from one.
    """

    bad: list[tuple[int, str]] = field(default_factory=list)
    _last_first: list[tuple[re.Pattern[str], bool]] = field(default_factory=list)
    _is_costly: bool = False

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Patterns:
        """Parse ``lines`` and skip those that are not patterns. Raises TooCostlyError."""
        patterns, until = cls(), time.thread_time() + PARSE_SECONDS
        for number, line in enumerate(lines, 1):
            patterns._add(number, line)
            if len(patterns._last_first) > MAX_PATTERNS or time.thread_time() > until:
                raise TooCostlyError("has too many patterns")
        patterns._last_first.reverse()
        return patterns

    def then(self, later: Patterns) -> Patterns:
        """Return the patterns of both, without ``bad``."""
        return Patterns([], later._last_first + self._last_first)

    def verdict(self, path: str, until: float | None = None) -> bool | None:
        """Return True if ``path`` is ignored, False if it is included again, None if no pattern matches it.

        ``until`` is a deadline by ``time.thread_time``. Raises TooCostlyError; if the patterns themselves are too slow,
        then for every later path too.
        """
        if self._is_costly or len(path) > 2 * MAX_LENGTH:
            raise TooCostlyError("takes too long to match")
        by_folder, own = None, time.thread_time() + MATCH_SECONDS
        for n, (pattern, include) in enumerate(self._last_first, 1):
            if n % 16 == 0:
                self._check(own, until)
            if match := pattern.search(path):
                if _matches_whole_path(match, path):
                    return include
                by_folder = include if by_folder is None else by_folder
        return by_folder

    def _check(self, own: float, until: float | None) -> None:
        now = time.thread_time()
        self._is_costly = self._is_costly or now > own
        if self._is_costly or (until is not None and now > until):
            raise TooCostlyError("takes too long to match")

    def _add(self, number: int, line: str) -> None:
        try:
            if len(line) > MAX_LENGTH:
                raise ValueError("too long")
            pattern = LinearPattern(line)
        except (ValueError, IndexError, RecursionError, re.error):
            self.bad.append((number, line))
            return
        if pattern.regex is not None and pattern.include is not None:
            self._last_first.append((pattern.regex, pattern.include))


def _matches_whole_path(match: re.Match[str], path: str) -> bool:
    """Return True if a pattern matches ``path`` itself, not only one of its parent folders."""
    return match.re.groups == 0 or match.end(_FOLDER) in (-1, len(path))


def _linear_regex(regex: str) -> str:
    """Return an expression for the same paths that does not backtrack into an earlier wildcard."""
    regex = _ITEM.sub(_set_in_name, regex.replace(_END, _END_HERE))
    blocks = [_stars(block) for block in regex.split(_INNER)]
    if len(blocks) == 1:
        return _DOTS_MATCH_ALL + blocks[0]
    first, *inner, last = blocks
    if first.startswith(_LEADING):
        first = f"^(?>(?:{_ONE}+/)*?{first.removeprefix(_LEADING)}{_EDGE})"
    middle = "".join(f"(?>(?:/{_ONE}+)*?{block}{_EDGE})" for block in inner)
    return f"{_DOTS_MATCH_ALL}{first}{middle}{_INNER}{last}"


def _set_in_name(item: re.Match[str]) -> str:
    """Keep a set such as ``[!a]`` from matching a slash, as in git, and escape characters that ``re`` reserves."""
    if not item[0].startswith("[") or item[0] == _ONE:
        return item[0]
    return f"{_NO_SLASH}[{_SPECIAL_IN_SETS.sub(_ESCAPED, item[0][1:-1])}]"


def _stars(block: str) -> str:
    """End each ``*`` where the text after it first matches, except the last one of a name."""
    head, *rest = block.split(_STAR)
    for n, fixed in enumerate(rest):
        is_last = n == len(rest) - 1 or "/" in fixed.replace(_ONE, "").replace(_NO_SLASH, "")
        head += f"{_STAR}{fixed}" if is_last else f"(?>{_STAR}?{fixed})"
    return head


IGNORE_FILES = (".gitignore", ".codellamaignore")
_KEY_FILES = (
    ".env .env.* *.pem *.key *.p12 *.pfx *.jks *.keystore *.kdbx *.asc *.gpg id_rsa* id_dsa* id_ecdsa* id_ed25519* "
    ".netrc .npmrc .pypirc .htpasswd *.tfvars *.tfstate secret.* secrets.* *.secret *.secrets credential.* "
    "credentials.* *credentials*.json *secret*.json *secret*.y*ml .aws/ .ssh/ .gnupg/ .kube/"
)
SECRET = constant_patterns(_KEY_FILES.split())
"""Names of files that may hold keys or passwords. They are never read, whatever they contain."""

MAX_BYTES = 128 * 1024
"""Size of the largest ignore file. Its parsed patterns take up to forty times as much memory."""
REMEMBERED = 64
"""Number of folders whose parsed ignore files are cached."""
SECONDS = 2.0
"""CPU time to check one path."""

Why = Literal["secret", "ignored", "unclear"]
"""Reason why a file must not be read; ``unclear`` if an ignore file cannot be used."""
ReportProblem = Callable[[str], object]
"""Called with each problem of an ignore file, whenever the file is used."""
FileStamp = tuple[Path, int, int, int, int]
"""State of a file: path, mode, inode, modification time in nanoseconds, size in bytes."""


@lru_cache(maxsize=1024)
def log_problem(problem: str) -> None:
    """Log a problem of an ignore file, once."""
    log.warning("%s", problem)


@dataclass(frozen=True, slots=True)
class _Rules:
    """The rules of a folder's ignore files. Nothing in the folder may be read if ``patterns`` is None."""

    patterns: Patterns | None
    problems: tuple[str, ...] = ()


class IgnoreRules:
    """The ignore files from ``root`` down to a folder. As in git, the one nearest to a file decides.

    ``until`` is a deadline by ``time.thread_time``; after it, files are unclear.
    """

    def __init__(self, root: Path, report: ReportProblem = log_problem, until: float | None = None) -> None:
        self._root = root
        self._report = report
        self._until = until
        self._rules: dict[PurePosixPath, _Rules] = {}

    def enter(self, folder: PurePosixPath) -> None:
        """Read the ignore files of ``folder`` (relative to the root) and drop the rules of unrelated folders.

        Check the files of a folder before entering another one.
        """
        self._rules = {above: rules for above, rules in self._rules.items() if folder.is_relative_to(above)}
        stamps = [_stamp(self._root / folder / name) for name in IGNORE_FILES]
        if present := tuple(stamp for stamp in stamps if stamp):
            self._rules[folder] = rules = self._read(present)
            for problem in rules.problems:
                self._report(problem)

    def _read(self, present: tuple[FileStamp, ...]) -> _Rules:
        if self._until is not None and time.thread_time() > self._until:
            return _Rules(None)
        try:
            return _parsed(present)
        except OSError as error:  # not cached: the file may be readable next time
            return _Rules(None, (f"{present[0][0]} can't be read ({error.strerror}). {_HIDDEN}",))

    def match(self, name: str) -> bool:
        """Return True if the file ``name`` is excluded, or the folder if it ends with a slash. See ``why``."""
        return self.why(name) is not None

    def why(self, name: str) -> Literal["ignored", "unclear"] | None:
        """Return the reason to exclude a file or folder by itself, if any. Parent folders are not checked."""
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


def exclusion_reason(path: Path, root: Path, report: ReportProblem = log_problem) -> Why | None:
    """Return the reason why the file ``path`` must not be read, if any: its name, or an ignore file below ``root``.

    As in git, everything below an ignored folder is ignored. ``path`` is absolute and need not exist. Outside ``root``,
    only its name is checked.
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


def _stamp(path: Path) -> FileStamp | None:
    """Return the state of a file, or None if it does not exist."""
    try:
        status = os.lstat(path)
    except PermissionError:
        return path, 0, 0, 0, 0
    except (OSError, ValueError):
        return None
    return path, status.st_mode, status.st_ino, status.st_mtime_ns, status.st_size


@lru_cache(maxsize=REMEMBERED)
def _parsed(files: tuple[FileStamp, ...]) -> _Rules:
    patterns: Patterns | None = Patterns()
    problems: list[str] = []
    for path, mode, *_ in files:
        try:
            parsed = Patterns.parse(_lines(path, mode))
        except (NotRegularError, TooLongError, TooCostlyError) as error:
            problems.append(f"{path} {_reason(error)}. {_HIDDEN}")
            patterns = None
            continue
        problems += _bad_lines(path, parsed.bad)
        patterns = patterns and patterns.then(parsed)
    return _Rules(patterns, tuple(problems))


def _lines(path: Path, mode: int) -> list[str]:
    """Return the lines of an ignore file as git reads them: without byte order mark, in any encoding."""
    if mode and not stat.S_ISREG(mode):
        raise NotRegularError
    return read_regular(path, MAX_BYTES, follow=False).decode("utf-8-sig", errors="surrogateescape").split("\n")


def _reason(error: NotRegularError | TooLongError | TooCostlyError) -> str:
    if isinstance(error, TooCostlyError):
        return f"{error} (at most {MAX_PATTERNS:,} are used)"
    if isinstance(error, TooLongError):
        return f"has more than {MAX_BYTES // 1024} KiB"
    return "is a link or not a regular file, so its patterns are not read"


def _bad_lines(path: Path, bad: list[tuple[int, str]]) -> list[str]:
    """Return one message for all lines that are not patterns, if there are any."""
    if not bad:
        return []
    (number, line), *more = bad
    others = f", and {len(more)} more" if more else ""
    return [f"{path} has lines that are not patterns; they are skipped: line {number} ({line[:40]!r}){others}."]
