"""Stop rules: find the end of a completion at a line end, a dedent, a stop string or where it repeats the suffix.

The rules run after every token. Each keeps its own state and reads only the new text, so the cost per token does not
grow with the completion, the suffix or the stop strings. The engine and clients of remote servers share the rules.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

TAB_WIDTH = 4
MAX_BLANK_LINES = 1
"""More blank lines than this end a block: style guides put two between definitions, one within."""

OPENERS = {")": "(", "]": "[", "}": "{"}

StopCause = Literal["rule", "suffix", "stop"]


@dataclass(frozen=True, slots=True)
class StopRule:
    """The extent of one completion.

    Attributes:
        kind: ``line``: to the end of the current line. ``block``: to the first line indented less than ``indent``.
            ``none``: until the model ends it.
        indent: width of the block's indentation in columns, see ``indent_width``. At 0 there is no dedent: the block
            ends before the first line at the margin that follows a blank line.
        closer: text that starts the dedented line which still belongs to the block (``}``, ``end``).
    """

    kind: Literal["none", "line", "block"] = "none"
    indent: int = 0
    closer: str = ""


class StopCheck(NamedTuple):
    """Attributes: ``end``: position to cut and stop at, or None. ``safe``: text before this position will stay."""

    end: int | None
    safe: int


class StopCondition(Protocol):
    """One stop rule on a growing text. Positions count from the start of the text."""

    def feed(self, part: str, at: int) -> StopCheck:
        """Read ``part``, which starts at position ``at``. Not called again once an end was returned."""
        ...

    def finish(self, length: int) -> StopCheck:
        """Check the complete text of ``length`` characters."""
        ...


class Stopper:
    """Apply all stop rules of one completion to its growing text.

    ``feed`` returns the characters that are certain to stay. Generation must end once ``cause`` is set.
    """

    def __init__(self, rule: StopRule | None = None, suffix: str = "", stops: Sequence[str] = ()) -> None:
        """Stop by ``rule``, where the text repeats ``suffix``, and before any string of ``stops``."""
        self.cause: StopCause | None = None
        self._conditions = _conditions(rule or StopRule(), suffix, stops)
        self._text = io.StringIO()
        self._length = self._released = 0

    def feed(self, chunk: str) -> str:
        """Add generated text and return the new characters to show. After the end, there are none."""
        if self.cause:
            return ""
        at = self._length
        self._text.seek(at)
        self._text.write(chunk)
        self._length += len(chunk)
        checks: list[tuple[StopCause, StopCheck]] = [
            (cause, condition.feed(chunk, at)) for cause, condition in self._conditions
        ]
        end, self.cause = _earliest(checks)
        safe = min((check.safe for _, check in checks), default=self._length)
        return self._release(safe if end is None else end)

    def finish(self) -> str:
        """Return the held-back characters to show after the model ended the generation. ``cause`` does not change."""
        if self.cause:
            return ""
        checks: list[tuple[StopCause, StopCheck]] = [
            (cause, condition.finish(self._length)) for cause, condition in self._conditions
        ]
        end, _ = _earliest(checks)
        return self._release(self._length if end is None else end)

    @property
    def trimmed(self) -> bool:
        """True if a rule cut off the end of the text, so that what remains is complete."""
        return self._released < self._length

    def _release(self, upto: int) -> str:
        if upto <= self._released:
            return ""
        self._text.seek(self._released)
        piece = self._text.read(upto - self._released)
        self._released = upto
        return piece


def _conditions(rule: StopRule, suffix: str, stops: Sequence[str]) -> list[tuple[StopCause, StopCondition]]:
    conditions: list[tuple[StopCause, StopCondition]] = []
    if rule.kind == "line":
        conditions.append(("rule", LineEnd()))
    if rule.kind == "block":
        conditions.append(("rule", BlockEnd(rule.indent, rule.closer)))
    if suffix.strip():
        conditions.append(("suffix", SuffixStart(suffix)))
    if stops:
        conditions.append(("stop", StopStrings(stops)))
    return conditions


def _earliest(checks: Sequence[tuple[StopCause, StopCheck]]) -> tuple[int | None, StopCause | None]:
    """Return the first end of any rule, and that rule's cause."""
    end: int | None = None
    by: StopCause | None = None
    for cause, check in checks:
        if check.end is not None and (end is None or check.end < end):
            end, by = check.end, cause
    return end, by


class LineEnd:
    """End at the first newline."""

    def feed(self, part: str, at: int) -> StopCheck:
        """See ``StopCondition.feed``."""
        newline = part.find("\n")
        return StopCheck(None, at + len(part)) if newline < 0 else StopCheck(at + newline, at + newline)

    def finish(self, length: int) -> StopCheck:
        """See ``StopCondition.finish``."""
        return StopCheck(None, length)


class BlockEnd:
    """End after the last line of the block. The first line, which holds the cursor, always belongs to it."""

    def __init__(self, indent: int, closer: str) -> None:
        """See ``StopRule`` for ``indent`` and ``closer``."""
        self._indent, self._closer = indent, closer
        self._kept = 0  # end of the block's last line
        self._blank = 0  # blank lines after it
        self._line: Literal["blank", "inside", "closer"] = "inside"
        self._margin: list[str] = []  # the current line while it is blank

    def feed(self, part: str, at: int) -> StopCheck:
        """See ``StopCondition.feed``."""
        *lines, last = part.split("\n")
        for line in lines:
            if check := self._grow(line, at) or self._newline(at + len(line)):
                return check
            at += len(line) + 1
        return self._grow(last, at) or StopCheck(None, self._kept)

    def finish(self, length: int) -> StopCheck:
        """See ``StopCondition.finish``."""
        if self._line == "closer":
            return StopCheck(length, length)
        return StopCheck(self._kept if self._kept < length else None, self._kept)

    def _grow(self, part: str, at: int) -> StopCheck | None:
        """Extend the current line by ``part``."""
        if self._line == "blank" and not part.strip():
            self._margin.append(part)
        elif self._line == "blank" and self._dedented(line := "".join([*self._margin, part])):
            if not self._closer or not line.strip().startswith(self._closer):
                return StopCheck(self._kept, self._kept)
            self._line = "closer"
        elif self._line != "closer":
            self._line, self._blank, self._kept = "inside", 0, at + len(part)
        return None

    def _dedented(self, line: str) -> bool:
        return indent_width(line) < self._indent or bool(self._blank and not line[0].isspace() and not self._indent)

    def _newline(self, at: int) -> StopCheck | None:
        if self._line == "closer":
            return StopCheck(at, at)
        if self._line == "blank":
            self._blank += 1
            if self._blank > MAX_BLANK_LINES:
                return StopCheck(self._kept, self._kept)
        self._line, self._margin = "blank", []
        return None


class SuffixStart:
    """End where the text starts to repeat the suffix.

    On the cursor's line: at the rest of that line, unless inside a bracket that the text opened, or at an unmatched
    closing bracket that the rest starts with. Below: at a line equal to the suffix's first line that is not blank.
    """

    def __init__(self, suffix: str) -> None:
        """``suffix`` is the text after the cursor."""
        rest, self._below = _anchors(suffix)
        self._held = max(len(rest) - 1, 0)
        self._rest = _RestOfLine(rest) if rest else None
        self._newline: int | None = None  # position of the last newline
        self._same: int | None = 0  # characters that the current line shares with ``_below``; None if they differ

    def feed(self, part: str, at: int) -> StopCheck:
        """See ``StopCondition.feed``."""
        if self._newline is None:
            line, newline, part = part.partition("\n")
            cut = self._rest.feed(line) if self._rest else None
            at += len(line)
            if cut is not None:
                return StopCheck(cut, cut)
            if not newline:
                return StopCheck(None, max(at - self._held, 0))
            self._newline, at = at, at + 1
        return self._read_below(part, at, self._newline)

    def finish(self, length: int) -> StopCheck:
        """See ``StopCondition.finish``."""
        repeated = self._newline is not None and self._repeats()
        return StopCheck(self._newline, self._newline or 0) if repeated else StopCheck(None, length)

    def _read_below(self, part: str, at: int, newline: int) -> StopCheck:
        if not self._below:
            return StopCheck(None, at + len(part))
        *lines, last = part.split("\n")
        for line in lines:
            self._compare(line)
            if self._repeats():
                return StopCheck(newline, newline)
            newline, self._same = at + len(line), 0
            at = newline + 1
        self._newline = newline
        self._compare(last)
        return StopCheck(None, at + len(last) if self._same is None else newline)

    def _compare(self, part: str) -> None:
        """Extend the current line by ``part`` and compare it with the line below, ignoring trailing white space."""
        if self._same is not None:
            wanted = self._below[self._same : self._same + len(part)]
            alike = part.startswith(wanted) and not part[len(wanted) :].strip()
            self._same = self._same + len(wanted) if alike else None

    def _repeats(self) -> bool:
        return bool(self._below) and self._same == len(self._below)


def suffix_start(text: str, suffix: str) -> int | None:
    """Return the position where ``text`` starts to repeat ``suffix`` by the rules of ``SuffixStart``, or None."""
    condition = SuffixStart(suffix)
    end = condition.feed(text, 0).end
    return condition.finish(len(text)).end if end is None else end


def _anchors(suffix: str) -> tuple[str, str]:
    """Return the rest of the cursor's line, and the first line below it that is not blank."""
    rest, _, below = suffix.partition("\n")
    text = below.lstrip()
    start = len(below) - len(text)
    margin = below[below.rfind("\n", 0, start) + 1 : start]
    return rest.strip(), (margin + text.partition("\n")[0]).rstrip()


class _RestOfLine:
    """Search for the rest of the cursor's line in the text generated on that line."""

    def __init__(self, rest: str) -> None:
        self._search = SubstringSearch(rest)
        self._opened: list[str] = []
        self._outside = bytearray()  # for each character, 1 if no bracket is open before it

    def feed(self, part: str) -> int | None:
        """Return the index on the line where the rest starts, if it does."""
        before = len(self._outside) - len(self._search.pattern)
        closer = self._brackets(part)
        starts = (before + end for end in self._search.feed(part))
        start = next((start for start in starts if self._outside[start]), None)
        return min((at for at in (start, closer) if at is not None), default=None)

    def _brackets(self, part: str) -> int | None:
        """Return the index of an unmatched closing bracket that the rest starts with, if there is one."""
        first = None
        for char in part:
            self._outside.append(not self._opened)
            if char in OPENERS.values():
                self._opened.append(char)
            elif char in OPENERS:
                if self._opened and self._opened[-1] == OPENERS[char]:
                    self._opened.pop()
                elif not self._opened and first is None and self._search.pattern[0] == char:
                    first = len(self._outside) - 1
        return first


class StopStrings:
    """End before the first stop string. A partial match at the end of the text is held back."""

    def __init__(self, stops: Sequence[str]) -> None:
        """Search for ``stops``; empty strings are ignored."""
        self._searches = [SubstringSearch(stop) for stop in stops if stop]

    def feed(self, part: str, at: int) -> StopCheck:
        """See ``StopCondition.feed``."""
        starts = [self._first(search, part) for search in self._searches]
        ends = [at + start for start in starts if start is not None]
        if ends:
            return StopCheck(min(ends), min(ends))
        held = max((search.matched for search in self._searches), default=0)
        return StopCheck(None, at + len(part) - held)

    def finish(self, length: int) -> StopCheck:
        """See ``StopCondition.finish``."""
        return StopCheck(None, length)

    @staticmethod
    def _first(search: SubstringSearch, part: str) -> int | None:
        """Return the start of the first occurrence relative to ``part``; negative if it started in earlier text."""
        end = next(search.feed(part), None)
        return None if end is None else end - len(search.pattern)


def indent_width(line: str) -> int:
    """Return the columns of leading white space. A tab extends to the next multiple of ``TAB_WIDTH``."""
    return len(line[: len(line) - len(line.lstrip())].expandtabs(TAB_WIDTH))


class SubstringSearch:
    """Search for a string in a growing text, in constant time per character. The text itself is not kept.

    The table of borders grows with the longest partial match, so a long pattern costs nothing until it matches. Source:
    Knuth, Morris and Pratt (1977), "Fast Pattern Matching in Strings".

    Attributes:
        matched: length of the partial match at the end of the text.
    """

    def __init__(self, pattern: str) -> None:
        """Search for ``pattern``, which must not be empty."""
        self.pattern = pattern
        self.matched = 0
        self._borders = [0]

    def feed(self, part: str) -> Iterator[int]:
        """Yield the end index in ``part`` of each occurrence. Exhaust the iterator before the next part."""
        at = 0
        while at < len(part):
            if not self.matched:
                at = part.find(self.pattern[0], at)
                if at < 0:
                    return
            self._advance(part[at])
            at += 1
            if self.matched == len(self.pattern):
                yield at
                self.matched = self._border(self.matched)

    def _advance(self, char: str) -> None:
        while self.matched and self.pattern[self.matched] != char:
            self.matched = self._border(self.matched)
        self.matched += self.pattern[self.matched] == char

    def _border(self, length: int) -> int:
        """Return the length of the longest proper prefix of ``pattern[:length]`` that is also its suffix."""
        pattern, borders = self.pattern, self._borders
        while len(borders) < length:
            char, border = pattern[len(borders)], borders[-1]
            while border and pattern[border] != char:
                border = borders[border - 1]
            borders.append(border + (pattern[border] == char))
        return borders[length - 1]
