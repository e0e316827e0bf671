"""Immutable documents: the only code that handles line ends and position encodings.

A ``Snapshot`` is a document at a position, with LF line ends; a ``Document`` keeps its own line ends. Other code works
on code points. Lines end at CR LF, LF and CR (LSP 3.18); ``str.splitlines`` would also split at form feeds and U+2028.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

Encoding = Literal["utf-8", "utf-16", "utf-32"]

BLOCK = 4096
"""Characters counted at once."""

LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Position:
    """A zero-based line, and a character in the client's code units."""

    line: int
    character: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document at one moment, split at a position.

    Attributes:
        uri: URI of the document.
        language: the client's language id, e.g. ``python``.
        version: the client's version of the document.
        before: all text before the position, with LF line ends.
        after: all text after the position, with LF line ends.
        line_end: the document's own line end.
        line: zero-based line of the position, within the document.
        encoding: the client's code units.
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
        """Return the text on the position's line before it."""
        return self.before[self.before.rfind("\n") + 1 :]

    @property
    def right(self) -> str:
        """Return the text on the position's line after it."""
        return self.after.partition("\n")[0]

    def line_start(self) -> Position:
        """Return the start of the position's line."""
        return Position(self.line, 0)

    def here(self) -> Position:
        """Return the position, clamped to the document."""
        return Position(self.line, units(self.left, self.encoding))

    def line_stop(self) -> Position:
        """Return the end of the position's line, before its line end."""
        return Position(self.line, units(self.left + self.right, self.encoding))

    def selecting(self, start: Position, stop: Position, text: str) -> Snapshot | None:
        """Return the snapshot after ``text`` replaces the range and the cursor moves to its end.

        This is the effect of accepting a completion-list entry. Return None if the range is not on the cursor's line or
        does not contain the cursor.
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
    """Take a snapshot of ``text`` at ``position``. A position outside the document is moved to the nearest inside."""
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
    """Return the offset of a position in code points. A position outside the text is moved to the nearest inside."""
    line, start, stop = _find_line(text, position.line)
    if position.line > line:
        return len(text)
    return start + _code_points(text[start:stop], position.character, encoding)


def position_of(text: str, offset: int, encoding: Encoding) -> Position:
    """Return the position of an offset, which must not be inside a CR LF."""
    start = max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1
    return Position(_line_ends(text, 0, offset), units(text[start:offset], encoding))


def units(text: str, encoding: Encoding) -> int:
    """Return the length of a text in code units of ``encoding``."""
    if encoding == "utf-32":
        return len(text)
    if encoding == "utf-8":
        return len(text.encode("utf-8", errors="surrogatepass"))
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2


def _find_line(text: str, wanted: int) -> tuple[int, int, int]:
    """Return the number, start and stop (before its line end) of line ``wanted``, or of the last line."""
    line, start, block = _skip_lines(text, wanted)
    for end in LINE_END.finditer(text, block):
        if line >= wanted:
            return line, start, end.start()
        line, start = line + 1, end.end()
    return line, start, len(text)


def _skip_lines(text: str, wanted: int) -> tuple[int, int, int]:
    """Skip whole blocks. Return a line not after ``wanted``, its start, and an offset on it before its end."""
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
    """Return the code point at or before ``character`` code units, never inside a character."""
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
    """Return the text with LF line ends; the same object if it has no others."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


@dataclass(frozen=True, slots=True)
class Document:
    """A document at one moment with its own line ends. Offsets count code points, a CR LF as two.

    Attributes:
        language: the client's language id, e.g. ``python``.
        version: the client's version of the document; None if it has none.
        encoding: the client's code units.
    """

    uri: str
    language: str
    version: int | None
    text: str
    encoding: Encoding = "utf-16"

    @property
    def line_end(self) -> str:
        """Return the line end of the first line, else LF."""
        first = LINE_END.search(self.text)
        return first.group() if first else "\n"

    def offset(self, line: int, character: int) -> int:
        """Return the offset of a client position. One outside the document is moved to the nearest inside."""
        return offset_of(self.text, Position(line, character), self.encoding)

    def position(self, offset: int) -> Position:
        """Return the client position of an offset."""
        return position_of(self.text, offset, self.encoding)
