"""What of a document helps to understand a piece of it: the heads of what it lies in, imports, the lines next to it.

Pure. Knows no task; a line goes along whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, islice

from lsp_server.edits.definitions import enclosing
from lsp_server.snapshot import with_lf

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
