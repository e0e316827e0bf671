"""Patterns as in a .gitignore, matched in a time that no pattern can make long.

pathspec translates a pattern to a regular expression in which each wildcard may be tried at every length: with ten of
them a match takes years. The expressions here try each wildcard once: what a wildcard stands for ends where the text
after it is first found, as in CPython's ``fnmatch.translate``. A folder's name may have line breaks in it.

Which files a person does not want read: ignored by git's rules or ours, or of a name that says it may hold keys.

Torch-free; knows neither languages nor what is in a file. Rules are read anew when their file has changed. An ignore
file that can't be used hides all files of its folder: it may have named any of them.
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

MAX_LENGTH = 1_024
"""Characters of a pattern, and twice as many of a path: what one match costs grows with both."""
MAX_PATTERNS = 5_000
PARSE_SECONDS, MATCH_SECONDS = 2.0, 0.5
"""Processor time for one file of patterns: to be parsed, and to be matched with one path."""

_LEADING, _INNER, _STAR, _ONE = "^(?:.+/)?", "(?:/.+)?", "[^/]*", "[^/]"
_FOLDER, _END, _END_HERE = "ps_d", "|$)", r"|\Z)"
_ITEM = re.compile(r"\\.|\[\^?\]?[^\]]*\]", re.DOTALL)
_SPECIAL_IN_SETS, _ESCAPED = re.compile(r"[\[&~|]"), r"\\\g<0>"
_DOTS_MATCH_ALL, _NO_SLASH = "(?s)", "(?!/)"
_EDGE = r"(?=/|\Z)"


class TooCostlyError(ValueError):
    """The patterns are too many, or take too long to match; the message says which."""


class LinearPattern(GitIgnoreSpecPattern):
    """One pattern. Matching takes time in proportion to its length and the path's.

    Raises ValueError or re.error for a line that is no pattern.
    """

    __slots__ = ()

    @classmethod
    def pattern_to_regex(cls, pattern: str) -> tuple[str | None, bool | None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the regular expression, and whether what it matches is ignored; (None, None) for a comment."""
        regex, include = super().pattern_to_regex(pattern)
        return (None if regex is None else _linear(regex)), include


def constant_patterns(lines: Iterable[str]) -> GitIgnoreSpec:
    """Return the patterns of ``lines``, which are this program's own."""
    return GitIgnoreSpec.from_lines(lines, LinearPattern, backend="simple")


@dataclass
class Patterns:
    """Lines of ignore files or of a setting; the last one that matches a path decides.

    Attributes:
        bad: what is no pattern: the number of the line, from one, and the line.
    """

    bad: list[tuple[int, str]] = field(default_factory=list)
    _last_first: list[tuple[re.Pattern[str], bool]] = field(default_factory=list)
    _is_costly: bool = False

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Patterns:
        """Parse ``lines``; skip what is no pattern. Raises TooCostlyError."""
        found, until = cls(), time.thread_time() + PARSE_SECONDS
        for number, line in enumerate(lines, 1):
            found._add(number, line)
            if len(found._last_first) > MAX_PATTERNS or time.thread_time() > until:
                raise TooCostlyError("has too many patterns")
        found._last_first.reverse()
        return found

    def then(self, later: Patterns) -> Patterns:
        """Return the patterns of both, without what was bad."""
        return Patterns([], later._last_first + self._last_first)

    def verdict(self, path: str, until: float | None = None) -> bool | None:
        """Return whether ``path`` is ignored; None if no pattern matches it.

        ``until`` is a time of ``time.thread_time``. Raises TooCostlyError, once it did because of its own patterns for
        every path.
        """
        if self._is_costly or len(path) > 2 * MAX_LENGTH:
            raise TooCostlyError("takes too long to match")
        found, own = None, time.thread_time() + MATCH_SECONDS
        for n, (pattern, include) in enumerate(self._last_first, 1):
            if n % 16 == 0:
                self._check(own, until)
            if match := pattern.search(path):
                if _is_of_all(match, path):
                    return include
                found = include if found is None else found
        return found

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


def _is_of_all(match: re.Match[str], path: str) -> bool:
    """Return whether a pattern matches ``path`` itself, and not only a folder around it."""
    return match.re.groups == 0 or match.end(_FOLDER) in (-1, len(path))


def _linear(regex: str) -> str:
    """Return an expression for the same paths that does not go back to an earlier wildcard."""
    regex = _ITEM.sub(_within_a_name, regex.replace(_END, _END_HERE))
    blocks = [_stars(block) for block in regex.split(_INNER)]
    if len(blocks) == 1:
        return _DOTS_MATCH_ALL + blocks[0]
    first, *inner, last = blocks
    if first.startswith(_LEADING):
        first = f"^(?>(?:{_ONE}+/)*?{first.removeprefix(_LEADING)}{_EDGE})"
    middle = "".join(f"(?>(?:/{_ONE}+)*?{block}{_EDGE})" for block in inner)
    return f"{_DOTS_MATCH_ALL}{first}{middle}{_INNER}{last}"


def _within_a_name(item: re.Match[str]) -> str:
    """In git a set such as ``[!a]`` stands for no slash; pathspec forgets that, and that ``[[`` will mean something."""
    if not item[0].startswith("[") or item[0] == _ONE:
        return item[0]
    return f"{_NO_SLASH}[{_SPECIAL_IN_SETS.sub(_ESCAPED, item[0][1:-1])}]"


def _stars(block: str) -> str:
    """Have each ``*`` end at the first place that what follows it fits, but for the last of a name."""
    head, *rest = block.split(_STAR)
    for n, fixed in enumerate(rest):
        is_last = n == len(rest) - 1 or "/" in fixed.replace(_ONE, "").replace(_NO_SLASH, "")
        head += f"{_STAR}{fixed}" if is_last else f"(?>{_STAR}?{fixed})"
    return head


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
