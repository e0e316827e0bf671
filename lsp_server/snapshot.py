"""A document frozen at a position: the only place that knows line endings and position encodings.

Everything after it works on code points and LF. Lines end at CR LF, LF and CR, as LSP 3.18 defines them, and nowhere
else: ``str.splitlines`` would also split at form feeds and U+2028.

One document at one moment, as it is: with its own line ends. Knows no LSP but its counting of characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

Encoding = Literal["utf-8", "utf-16", "utf-32"]

BLOCK = 4096
"""Characters that are counted at once."""

LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Position:
    """Zero-based line, and character in the client's code units."""

    line: int
    character: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One document at one moment, seen from one position.

    Attributes:
        uri: of the document.
        language: the client's language id, e.g. ``python``.
        version: of the document, as the client counts.
        before: all text before the position, with LF line ends.
        after: all text after it, likewise.
        line_end: what ends the document's lines.
        line: the position's line, zero-based and within the document.
        encoding: what the client counts characters in.
    """

    uri: str
    language: str
    version: int
    before: str
    after: str
    line_end: str
    line: int
    encoding: Encoding

    @property
    def left(self) -> str:
        """The position's line up to the position."""
        return self.before[self.before.rfind("\n") + 1 :]

    @property
    def right(self) -> str:
        """The rest of the position's line."""
        return self.after.partition("\n")[0]

    def line_start(self) -> Position:
        """Where the position's line begins."""
        return Position(self.line, 0)

    def here(self) -> Position:
        """The position itself, clamped into the document."""
        return Position(self.line, units(self.left, self.encoding))

    def line_stop(self) -> Position:
        """Where the position's line ends, before its line end."""
        return Position(self.line, units(self.left + self.right, self.encoding))

    def selecting(self, start: Position, stop: Position, text: str) -> Snapshot | None:
        """The document as if ``text`` had been chosen from a list, to stand from ``start`` to ``stop``, the cursor
        behind it; None where that is not on the cursor's line and around the cursor.
        """
        if not start.line == stop.line == self.line:
            return None
        row = self.left + self.right
        first, last = (_code_points(row, at.character, self.encoding) for at in (start, stop))
        if not first <= len(self.left) <= last:
            return None
        before = self.before[: len(self.before) - len(self.left)] + row[:first] + with_lf(text)
        after = row[last:] + self.after[len(self.right) :]
        return replace(self, before=before, after=after, line=self.line + with_lf(text).count("\n"))


def take(
    text: str, position: Position, encoding: Encoding, *, uri: str = "", language: str = "", version: int = 0
) -> Snapshot:
    """Freeze ``text`` at ``position``. A position outside the document is moved to the nearest inside."""
    line, start, stop = _find_line(text, position.line)
    offset = start + _code_points(text[start:stop], position.character, encoding)
    first = LINE_END.search(text)
    return Snapshot(
        uri=uri,
        language=language,
        version=version,
        before=with_lf(text[:offset]),
        after=with_lf(text[offset:]),
        line_end=first.group() if first else "\n",
        line=line,
        encoding=encoding,
    )


def offset_of(text: str, position: Position, encoding: Encoding) -> int:
    """The code point of ``text`` at a position; below the last line its end, else the nearest inside the line."""
    line, start, stop = _find_line(text, position.line)
    if position.line > line:
        return len(text)
    return start + _code_points(text[start:stop], position.character, encoding)


def position_of(text: str, offset: int, encoding: Encoding) -> Position:
    """The position of a code point that does not lie within a line end."""
    start = max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1
    return Position(_line_ends(text, 0, offset), units(text[start:offset], encoding))


def units(text: str, encoding: Encoding) -> int:
    """How many code units of ``encoding`` a text takes."""
    if encoding == "utf-32":
        return len(text)
    if encoding == "utf-8":
        return len(text.encode("utf-8", errors="surrogatepass"))
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2


def _find_line(text: str, wanted: int) -> tuple[int, int, int]:
    """Number, start and stop (before its line end) of line ``wanted``, or of the last one."""
    line, start, block = _skip_lines(text, wanted)
    for end in LINE_END.finditer(text, block):
        if line >= wanted:
            return line, start, end.start()
        line, start = line + 1, end.end()
    return line, start, len(text)


def _skip_lines(text: str, wanted: int) -> tuple[int, int, int]:
    """A line not below ``wanted``, where it starts, and a place on it before its end: whole blocks are skipped."""
    line = block = 0
    while block < len(text):
        stop = min(block + BLOCK, len(text))
        stop += text[stop - 1 : stop + 1] == "\r\n"
        ends = _line_ends(text, block, stop)
        if line + ends >= wanted:
            break
        line, block = line + ends, stop
    return line, max(text.rfind("\n", 0, block), text.rfind("\r", 0, block)) + 1, block


def _line_ends(text: str, start: int, stop: int) -> int:
    return text.count("\n", start, stop) + text.count("\r", start, stop) - text.count("\r\n", start, stop)


def _code_points(line: str, character: int, encoding: Encoding) -> int:
    """The code point at or before ``character`` code units; never inside a character."""
    if line.isascii() or encoding == "utf-32":
        return max(0, min(character, len(line)))
    seen = 0
    for block in range(0, len(line), BLOCK):
        part = line[block : block + BLOCK]
        size = units(part, encoding)
        if seen + size <= character:
            seen += size
            continue
        for index, char in enumerate(part, block):
            seen += units(char, encoding)
            if seen > character:
                return index
    return len(line)


def with_lf(text: str) -> str:
    """The text with LF line ends; the very same one where it has no others."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


@dataclass(frozen=True, slots=True)
class Document:
    """Offsets into ``text`` count code points, a CR LF as two.

    Attributes:
        language: the client's language id, e.g. ``python``.
        version: as the client counts; None where it does not.
        encoding: what the client counts characters in.
    """

    uri: str
    language: str
    version: int | None
    text: str
    encoding: Encoding = "utf-16"

    @property
    def line_end(self) -> str:
        """What ends the document's lines: what ends its first."""
        first = LINE_END.search(self.text)
        return first.group() if first else "\n"

    def offset(self, line: int, character: int) -> int:
        """Where the client's position is; of one outside the document the nearest inside."""
        return offset_of(self.text, Position(line, character), self.encoding)

    def position(self, offset: int) -> Position:
        """Where the client sees an offset."""
        return position_of(self.text, offset, self.encoding)
