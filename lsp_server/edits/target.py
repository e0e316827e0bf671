"""What may change: the selected lines, the definition around a place, or its line. Nothing outside it ever does.

Pure. A target is whole lines without the last one's end, and without blank lines around.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lsp_server.edits.definitions import Definition, enclosing
from lsp_server.snapshot import LINE_END

MOST_LINES = 400
MOST_CHARS = 24_000
"""What a model can be asked to write again; of a longer definition the lines asked about are taken."""


@dataclass(frozen=True, slots=True)
class Target:
    """Offsets into the document; ``definition`` is what it consists of, or lies in."""

    start: int
    stop: int
    kind: Literal["selection", "definition", "line"]
    definition: Definition | None = None

    def of(self, text: str) -> str:
        """What stands there."""
        return text[self.start : self.stop]

    def too_long(self, text: str) -> bool:
        """More than a model can be asked to write again."""
        return self.stop - self.start > MOST_CHARS or len(LINE_END.findall(self.of(text))) >= MOST_LINES


def target_of(language: str, text: str, start: int, stop: int) -> Target:
    """What a person means who has selected ``text[start:stop]``, or stands there with nothing selected."""
    lines = selected_lines(text, start, stop)
    if start < stop:
        inner = next(_around(language, text, lines), None)
        return Target(*lines, "selection", inner)
    return defined(language, text, start, stop) or Target(*lines, "line")


def defined(language: str, text: str, start: int, stop: int) -> Target | None:
    """The innermost definition around a place that a model can write again."""
    for definition in _around(language, text, selected_lines(text, start, stop)):
        target = Target(*selected_lines(text, definition.start, definition.stop), "definition", definition)
        return None if target.too_long(text) else target
    return None


def selected_lines(text: str, start: int, stop: int) -> tuple[int, int]:
    """The whole lines of a selection. A line of which only the start is selected is not among them."""
    if stop > start and text[stop - 1] in "\r\n":
        stop -= 2 if text[max(stop - 2, start) : stop] == "\r\n" else 1
    first = _line_start(text, start)
    end = LINE_END.search(text, max(stop, first))
    return _without_blank_lines(text, first, end.start() if end else len(text))


def _without_blank_lines(text: str, start: int, stop: int) -> tuple[int, int]:
    piece = text[start:stop]
    if not piece.strip():
        return start, stop
    first, last = start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
    end = LINE_END.search(text, last, stop)
    return max(start, _line_start(text, first)), end.start() if end else stop


def _line_start(text: str, offset: int) -> int:
    return max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1


def _around(language: str, text: str, lines: tuple[int, int]) -> Iterator[Definition]:
    """Definitions around what is written on these lines."""
    start, stop = lines
    piece = text[start:stop]
    if not piece.strip():
        return iter(())
    return enclosing(language, text, start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip()))
