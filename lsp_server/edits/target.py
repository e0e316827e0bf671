"""What may change: the selected lines, the definition around a place, or its line. Nothing outside it ever does.

Pure. A target is whole lines without the last one's end, and without blank lines around.

What of a document helps to understand a piece of it: the heads of what it lies in, imports, the lines next to it.

Pure. Knows no task; a line goes along whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal

from lsp_server.edits.definitions import Definition, enclosing
from lsp_server.snapshot import LINE_END, with_lf

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


LONGEST_HEAD = 5
LONGEST_IMPORT = 30

_IMPORT = re.compile(
    r"(?:import|use|using|package|require)\b|from\s+\S+\s+import\b|#\s*include\b|(?:const|let|var)\s.*\brequire\("
)
_OPENED, _CLOSED = re.compile(r"[({\[]"), re.compile(r"[)}\]]")


def around(language: str, text: str, start: int, stop: int, limit: int) -> tuple[str, str]:
    """Lines before and behind the whole lines ``text[start:stop]``, with LF, at most ``limit`` characters together.

    The most important first: heads of the definitions around it, the file's imports, then what is nearest. Where lines
    are left out between others there is an empty one.
    """
    if not limit:
        return "", ""
    lines = with_lf(text).split("\n")
    first = with_lf(text[:start]).count("\n")
    last = first + with_lf(text[start:stop]).count("\n")
    chosen: set[int] = set()
    for n in chain(_heads(language, text, start, stop, lines), _imports(lines), _nearest(first, last, len(lines))):
        if n in chosen or first <= n <= last:
            continue
        limit -= len(lines[n]) + 1
        if limit < 0:
            break
        chosen.add(n)
    return _told(lines, sorted(n for n in chosen if n < first)), _told(lines, sorted(n for n in chosen if n > last))


def _heads(language: str, text: str, start: int, stop: int, lines: list[str]) -> Iterator[int]:
    """Of the definitions around it, each to the line that opens its body."""
    piece = text[start:stop]
    begin, end = start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
    for one in enclosing(language, text, begin, max(begin, end)):
        at = with_lf(text[: one.start]).count("\n")
        head = range(at, min(at + LONGEST_HEAD, len(lines)))
        yield from head[: next((n + 1 for n, line in enumerate(head) if lines[line].rstrip().endswith((":", "{"))), 1)]


def _imports(lines: list[str]) -> Iterator[int]:
    """Each to where its brackets are closed."""
    for n, line in enumerate(lines):
        if not _IMPORT.match(line):
            continue
        open_brackets = 0
        for at in islice(range(n, len(lines)), LONGEST_IMPORT):
            yield at
            open_brackets += len(_OPENED.findall(lines[at])) - len(_CLOSED.findall(lines[at]))
            if open_brackets <= 0:
                break


def _nearest(first: int, last: int, count: int) -> Iterator[int]:
    for away in range(1, count):
        yield from (n for n in (first - away, last + away) if 0 <= n < count)


def _told(lines: list[str], chosen: list[int]) -> str:
    told: list[str] = []
    for at, n in enumerate(chosen):
        if at and n > chosen[at - 1] + 1 and told[-1].strip() and lines[n].strip():
            told.append("")
        told.append(lines[n])
    return "\n".join(told).strip("\n").rstrip()
