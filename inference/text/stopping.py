"""Search for a string in text that arrives in parts, in constant time per character.

Source: Knuth, Morris and Pratt 1977, "Fast Pattern Matching in Strings".

Find the end of a completion: a line end, a dedent, the text after the cursor, or a stop string.

The rules are applied after every token. Each keeps its own state and reads only the new text, so that a long answer, a
long suffix or a long stop string costs no more per token than a short one. The same rules serve the engine and clients
of remote servers.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol


class SubstringSearch:
    """One pattern, looked for in a growing text. The text itself is not kept.

    The table of borders grows with the longest match so far. So an untrusted pattern costs nothing until it matches.

    Attributes:
        matched: characters at the end of the text that are the beginning of the pattern.
    """

    def __init__(self, pattern: str) -> None:
        """Look for ``pattern``, which must not be empty."""
        self.pattern = pattern
        self.matched = 0
        self._borders = [0]

    def feed(self, part: str) -> Iterator[int]:
        """Yield the index in ``part`` after each occurrence that ends there. Exhaust it before the next part."""
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
        """The longest proper prefix of the pattern's first ``length`` characters that also ends them."""
        pattern, borders = self.pattern, self._borders
        while len(borders) < length:
            char, border = pattern[len(borders)], borders[-1]
            while border and pattern[border] != char:
                border = borders[border - 1]
            borders.append(border + (pattern[border] == char))
        return borders[length - 1]


TAB_WIDTH = 4
MAX_BLANK_LINES = 1
"""More blank lines than this end a block: style guides put two between definitions, one within."""

OPENERS = {")": "(", "]": "[", "}": "{"}

Cause = Literal["rule", "suffix", "stop"]


@dataclass(frozen=True, slots=True)
class StopRule:
    """How much one completion may write.

    Attributes:
        kind: ``line``: to the end of the current line. ``block``: to the first line indented less than ``indent``.
            ``none``: until the model ends it.
        indent: width of the block's indentation in columns, see ``indent_width``. At 0, where nothing is a dedent, the
            first line at the margin after a blank one ends it.
        closer: what ends the block when it is the first thing on a dedented line, and belongs to it (``}``, ``end``).
    """

    kind: Literal["none", "line", "block"] = "none"
    indent: int = 0
    closer: str = ""


class Verdict(NamedTuple):
    """Attributes: ``end``: cut here and stop, or None. ``safe``: text up to here stays whatever comes."""

    end: int | None
    safe: int


class Judge(Protocol):
    """One rule, applied to a growing text. Positions count from the beginning of the text."""

    def feed(self, part: str, at: int) -> Verdict:
        """Read ``part``, which begins at position ``at``. Not called again after a verdict with an end."""
        ...

    def finish(self, length: int) -> Verdict:
        """Judge the whole text of ``length`` characters, which will not grow any more."""
        ...


class Stopper:
    """Apply every rule of one completion to its growing text.

    ``feed`` returns the characters that are now certain to stay; once ``cause`` is set, generation is over.
    """

    def __init__(self, rule: StopRule | None = None, suffix: str = "", stops: Sequence[str] = ()) -> None:
        """Stop by ``rule``, where the text repeats ``suffix``, and at any of ``stops``."""
        self.cause: Cause | None = None
        self._judges = _judges(rule or StopRule(), suffix, stops)
        self._text = io.StringIO()
        self._length = self._shown = 0

    def feed(self, chunk: str) -> str:
        """Add newly generated text. After the end, nothing is added."""
        if self.cause:
            return ""
        at = self._length
        self._text.seek(at)
        self._text.write(chunk)
        self._length += len(chunk)
        verdicts: list[tuple[Cause, Verdict]] = [(cause, judge.feed(chunk, at)) for cause, judge in self._judges]
        end, self.cause = _earliest(verdicts)
        safe = min((verdict.safe for _, verdict in verdicts), default=self._length)
        return self._show(safe if end is None else end)

    def finish(self) -> str:
        """The generation ended by itself: judge what was held back. ``cause`` stays what it was."""
        if self.cause:
            return ""
        verdicts: list[tuple[Cause, Verdict]] = [(cause, judge.finish(self._length)) for cause, judge in self._judges]
        end, _ = _earliest(verdicts)
        return self._show(self._length if end is None else end)

    @property
    def trimmed(self) -> bool:
        """Whether a rule cut away what was written last: then nothing that is left is unfinished."""
        return self._shown < self._length

    def _show(self, upto: int) -> str:
        if upto <= self._shown:
            return ""
        self._text.seek(self._shown)
        piece = self._text.read(upto - self._shown)
        self._shown = upto
        return piece


def _judges(rule: StopRule, suffix: str, stops: Sequence[str]) -> list[tuple[Cause, Judge]]:
    judges: list[tuple[Cause, Judge]] = []
    if rule.kind == "line":
        judges.append(("rule", LineEnd()))
    if rule.kind == "block":
        judges.append(("rule", BlockEnd(rule.indent, rule.closer)))
    if suffix.strip():
        judges.append(("suffix", SuffixStart(suffix)))
    if stops:
        judges.append(("stop", StopStrings(stops)))
    return judges


def _earliest(verdicts: Sequence[tuple[Cause, Verdict]]) -> tuple[int | None, Cause | None]:
    """The first end that any rule sees, and whose it is."""
    end: int | None = None
    by: Cause | None = None
    for cause, verdict in verdicts:
        if verdict.end is not None and (end is None or verdict.end < end):
            end, by = verdict.end, cause
    return end, by


class LineEnd:
    """End at the first newline."""

    def feed(self, part: str, at: int) -> Verdict:
        """See ``Judge``."""
        newline = part.find("\n")
        return Verdict(None, at + len(part)) if newline < 0 else Verdict(at + newline, at + newline)

    def finish(self, length: int) -> Verdict:
        """See ``Judge``."""
        return Verdict(None, length)


class BlockEnd:
    """End after the last line that belongs to the block. The first line, with the cursor in it, always does."""

    def __init__(self, indent: int, closer: str) -> None:
        """The block is indented by ``indent`` columns; ``closer`` is as in ``StopRule``."""
        self._indent, self._closer = indent, closer
        self._kept = 0  # where the last line of the block ends
        self._blank = 0  # blank lines since
        self._line: Literal["blank", "inside", "closer"] = "inside"
        self._margin: list[str] = []  # of a line that is blank so far

    def feed(self, part: str, at: int) -> Verdict:
        """See ``Judge``."""
        *lines, last = part.split("\n")
        for line in lines:
            if verdict := self._grow(line, at) or self._newline(at + len(line)):
                return verdict
            at += len(line) + 1
        return self._grow(last, at) or Verdict(None, self._kept)

    def finish(self, length: int) -> Verdict:
        """See ``Judge``."""
        if self._line == "closer":
            return Verdict(length, length)
        return Verdict(self._kept if self._kept < length else None, self._kept)

    def _grow(self, part: str, at: int) -> Verdict | None:
        """The current line goes on with ``part``."""
        if self._line == "blank" and not part.strip():
            self._margin.append(part)
        elif self._line == "blank" and self._dedented(line := "".join([*self._margin, part])):
            if not self._closer or not line.strip().startswith(self._closer):
                return Verdict(self._kept, self._kept)
            self._line = "closer"
        elif self._line != "closer":
            self._line, self._blank, self._kept = "inside", 0, at + len(part)
        return None

    def _dedented(self, line: str) -> bool:
        return indent_width(line) < self._indent or bool(self._blank and not line[0].isspace() and not self._indent)

    def _newline(self, at: int) -> Verdict | None:
        if self._line == "closer":
            return Verdict(at, at)
        if self._line == "blank":
            self._blank += 1
            if self._blank > MAX_BLANK_LINES:
                return Verdict(self._kept, self._kept)
        self._line, self._margin = "blank", []
        return None


class SuffixStart:
    """End where the text begins to repeat what already stands after the cursor.

    On the cursor's line: at the rest of that line outside any bracket opened since, or at a closer that nothing
    opened and that the rest begins with. Below: at a line equal to the first that stands below.
    """

    def __init__(self, suffix: str) -> None:
        """``suffix`` is the text after the cursor."""
        rest, self._below = _landmarks(suffix)
        self._held = max(len(rest) - 1, 0)
        self._rest = _RestOfLine(rest) if rest else None
        self._newline: int | None = None  # the last one
        self._same: int | None = 0  # characters of ``below`` on the current line; None where another text is

    def feed(self, part: str, at: int) -> Verdict:
        """See ``Judge``."""
        if self._newline is None:
            line, newline, part = part.partition("\n")
            cut = self._rest.feed(line) if self._rest else None
            at += len(line)
            if cut is not None:
                return Verdict(cut, cut)
            if not newline:
                return Verdict(None, max(at - self._held, 0))
            self._newline, at = at, at + 1
        return self._read_below(part, at, self._newline)

    def finish(self, length: int) -> Verdict:
        """See ``Judge``."""
        repeated = self._newline is not None and self._repeats()
        return Verdict(self._newline, self._newline or 0) if repeated else Verdict(None, length)

    def _read_below(self, part: str, at: int, newline: int) -> Verdict:
        if not self._below:
            return Verdict(None, at + len(part))
        *lines, last = part.split("\n")
        for line in lines:
            self._compare(line)
            if self._repeats():
                return Verdict(newline, newline)
            newline, self._same = at + len(line), 0
            at = newline + 1
        self._newline = newline
        self._compare(last)
        return Verdict(None, at + len(last) if self._same is None else newline)

    def _compare(self, part: str) -> None:
        """The current line goes on with ``part``: is it still the line below, white space at its end aside?"""
        if self._same is not None:
            wanted = self._below[self._same : self._same + len(part)]
            alike = part.startswith(wanted) and not part[len(wanted) :].strip()
            self._same = self._same + len(wanted) if alike else None

    def _repeats(self) -> bool:
        return bool(self._below) and self._same == len(self._below)


def suffix_start(text: str, suffix: str) -> int | None:
    """Return where ``text`` begins to repeat ``suffix``, as ``SuffixStart`` finds it, or None."""
    judge = SuffixStart(suffix)
    end = judge.feed(text, 0).end
    return judge.finish(len(text)).end if end is None else end


def _landmarks(suffix: str) -> tuple[str, str]:
    """The rest of the cursor's line, and the first line below it that is not blank."""
    rest, _, below = suffix.partition("\n")
    text = below.lstrip()
    start = len(below) - len(text)
    margin = below[below.rfind("\n", 0, start) + 1 : start]
    return rest.strip(), (margin + text.partition("\n")[0]).rstrip()


class _RestOfLine:
    """Look for the rest of the cursor's line in what is written on that line."""

    def __init__(self, rest: str) -> None:
        self._search = SubstringSearch(rest)
        self._opened: list[str] = []
        self._outside = bytearray()  # for each character: whether no bracket is open before it

    def feed(self, part: str) -> int | None:
        """Return where on the line the rest begins, if it does."""
        before = len(self._outside) - len(self._search.pattern)
        closer = self._brackets(part)
        starts = (before + end for end in self._search.feed(part))
        start = next((start for start in starts if self._outside[start]), None)
        return min((at for at in (start, closer) if at is not None), default=None)

    def _brackets(self, part: str) -> int | None:
        """Return where a closer that nothing opened begins the rest, if one does."""
        found = None
        for char in part:
            self._outside.append(not self._opened)
            if char in OPENERS.values():
                self._opened.append(char)
            elif char in OPENERS:
                if self._opened and self._opened[-1] == OPENERS[char]:
                    self._opened.pop()
                elif not self._opened and found is None and self._search.pattern[0] == char:
                    found = len(self._outside) - 1
        return found


class StopStrings:
    """End before the first stop string. The beginning of one at the end of the text is held back."""

    def __init__(self, stops: Sequence[str]) -> None:
        """Empty strings stop nothing."""
        self._searches = [SubstringSearch(stop) for stop in stops if stop]

    def feed(self, part: str, at: int) -> Verdict:
        """See ``Judge``."""
        found = [self._first(search, part) for search in self._searches]
        ends = [at + start for start in found if start is not None]
        if ends:
            return Verdict(min(ends), min(ends))
        held = max((search.matched for search in self._searches), default=0)
        return Verdict(None, at + len(part) - held)

    def finish(self, length: int) -> Verdict:
        """See ``Judge``."""
        return Verdict(None, length)

    @staticmethod
    def _first(search: SubstringSearch, part: str) -> int | None:
        """Return where the first occurrence starts, counted from the start of ``part``: negative if before it."""
        end = next(search.feed(part), None)
        return None if end is None else end - len(search.pattern)


def indent_width(line: str) -> int:
    """Columns of leading white space, a tab reaching to the next multiple of ``TAB_WIDTH``."""
    return len(line[: len(line) - len(line.lstrip())].expandtabs(TAB_WIDTH))
