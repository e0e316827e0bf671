"""Patterns as in a .gitignore, matched in a time that no pattern can make long.

pathspec translates a pattern to a regular expression in which each wildcard may be tried at every length: with ten of
them a match takes years. The expressions here try each wildcard once: what a wildcard stands for ends where the text
after it is first found, as in CPython's ``fnmatch.translate``. A folder's name may have line breaks in it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

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
