"""Choose the lines that a task may change, and the lines around them that help the model.

A target is the selected lines, the definition around the cursor, or the cursor's line. It consists of whole lines,
without the line end of the last one and without blank lines at either end.
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
"""Largest target that a model is asked to rewrite. A larger definition falls back to the selected lines."""

LONGEST_HEAD = 5
"""Lines of a definition's head that are sent as context."""
LONGEST_IMPORT = 30
"""Lines of one import statement that are sent as context."""

_IMPORT = re.compile(
    r"(?:import|use|using|package|require)\b|from\s+\S+\s+import\b|#\s*include\b|(?:const|let|var)\s.*\brequire\("
)
_OPENED, _CLOSED = re.compile(r"[({\[]"), re.compile(r"[)}\]]")


@dataclass(frozen=True, slots=True)
class Target:
    """Offsets of the lines to change.

    Attributes:
        definition: the definition that the target is or lies in, if there is one.
    """

    start: int
    stop: int
    kind: Literal["selection", "definition", "line"]
    definition: Definition | None = None

    def of(self, text: str) -> str:
        """Return the target's text."""
        return text[self.start : self.stop]

    def too_long(self, text: str) -> bool:
        """Return True if the target is larger than ``MOST_CHARS`` or ``MOST_LINES``."""
        return self.stop - self.start > MOST_CHARS or len(LINE_END.findall(self.of(text))) >= MOST_LINES


def find_target(language: str, text: str, start: int, stop: int) -> Target:
    """Return the target for the selection ``text[start:stop]``, or for the cursor if the selection is empty."""
    lines = selected_lines(text, start, stop)
    if start < stop:
        inner = next(_definitions(language, text, lines), None)
        return Target(*lines, "selection", inner)
    return innermost_definition(language, text, start, stop) or Target(*lines, "line")


def innermost_definition(language: str, text: str, start: int, stop: int) -> Target | None:
    """Return the innermost definition around ``text[start:stop]``; None if there is none or it is too long."""
    for definition in _definitions(language, text, selected_lines(text, start, stop)):
        target = Target(*selected_lines(text, definition.start, definition.stop), "definition", definition)
        return None if target.too_long(text) else target
    return None


def selected_lines(text: str, start: int, stop: int) -> tuple[int, int]:
    """Return the whole lines of a selection. A selection that ends at a line's start does not include that line."""
    if stop > start and text[stop - 1] in "\r\n":
        stop -= 2 if text[max(stop - 2, start) : stop] == "\r\n" else 1
    first = _line_start(text, start)
    end = LINE_END.search(text, max(stop, first))
    return _without_blank_lines(text, first, end.start() if end else len(text))


def surrounding_lines(language: str, text: str, start: int, stop: int, limit: int) -> tuple[str, str]:
    """Return lines before and after the whole lines ``text[start:stop]``, with LF.

    Both together have at most ``limit`` characters. The heads of the enclosing definitions come first, then the file's
    imports, then the nearest lines. Each line is taken whole or not at all. An empty line marks a gap.
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
    before, after = sorted(n for n in chosen if n < first), sorted(n for n in chosen if n > last)
    return _joined(lines, before), _joined(lines, after)


def _without_blank_lines(text: str, start: int, stop: int) -> tuple[int, int]:
    if not text[start:stop].strip():
        return start, stop
    first, last = _without_blanks(text, start, stop)
    end = LINE_END.search(text, last, stop)
    return max(start, _line_start(text, first)), end.start() if end else stop


def _without_blanks(text: str, start: int, stop: int) -> tuple[int, int]:
    part = text[start:stop]
    return start + len(part) - len(part.lstrip()), start + len(part.rstrip())


def _line_start(text: str, offset: int) -> int:
    return max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1


def _definitions(language: str, text: str, lines: tuple[int, int]) -> Iterator[Definition]:
    """Return the definitions around the code on these lines, innermost first."""
    if not text[slice(*lines)].strip():
        return iter(())
    return enclosing(language, text, *_without_blanks(text, *lines))


def _heads(language: str, text: str, start: int, stop: int, lines: list[str]) -> Iterator[int]:
    """Yield the lines of each enclosing definition up to the one that opens its body."""
    begin, end = _without_blanks(text, start, stop)
    for definition in enclosing(language, text, begin, max(begin, end)):
        at = with_lf(text[: definition.start]).count("\n")
        head = range(at, min(at + LONGEST_HEAD, len(lines)))
        yield from head[: next((n + 1 for n, line in enumerate(head) if lines[line].rstrip().endswith((":", "{"))), 1)]


def _imports(lines: list[str]) -> Iterator[int]:
    """Yield the lines of each import, up to the one that closes its brackets."""
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


def _joined(lines: list[str], chosen: list[int]) -> str:
    """Join the chosen lines, with an empty line where others are left out between two that are not blank."""
    joined: list[str] = []
    for at, n in enumerate(chosen):
        if at and n > chosen[at - 1] + 1 and joined[-1].strip() and lines[n].strip():
            joined.append("")
        joined.append(lines[n])
    return "\n".join(joined).strip("\n").rstrip()
