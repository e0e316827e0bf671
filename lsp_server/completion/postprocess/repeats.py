"""Remove text that repeats the lines around the cursor, and loops within the text. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from inference.text.syntax_position import position_at
from lsp_server.completion.postprocess.brackets import brackets_of
from lsp_server.snapshot import Snapshot

COMPARED_LINES = 50
"""Lines above and below the cursor to compare with."""
MIN_DISTINCTIVE = 8
"""Non-blank characters from which on an equal line is no coincidence."""
_CLOSING = re.compile(r"[\s)\]};,]*$|\s*(?:end|fi|done|esac)\b")
_IN_LINE = re.compile(r"(.{3,60}?)\1{3,}")
_LONGEST_LINE = 600


def rest_of_line(snapshot: Snapshot, text: str) -> str:
    """Remove a repetition of the text right of the cursor.

    At the end of the text its beginning suffices. Elsewhere only the whole of it counts.
    """
    rest = snapshot.right.strip()
    if not rest:
        return text
    whole = text.find(rest) if len(rest) >= MIN_DISTINCTIVE else -1
    if whole >= 0 and _between_words(text, whole):
        return text[:whole]
    for size in range(min(len(rest), len(text)), 0, -1):
        if text.endswith(rest[:size]) and _is_repetition(snapshot, text, rest, size):
            return text[: len(text) - size]
    return text


def _is_repetition(snapshot: Snapshot, text: str, rest: str, size: int) -> bool:
    """Return whether the last ``size`` characters repeat those after the cursor, not merely equal them."""
    start = len(text) - size
    if not _between_words(text, start) or (size < len(rest) and not _between_words(rest, size)):
        return False
    if position_at(snapshot.language, snapshot.before).inside != "code":
        return size == len(rest) or size >= MIN_DISTINCTIVE
    closes = brackets_of(text[start:], snapshot.language).unopened
    if closes and len(brackets_of(text, snapshot.language).unopened) < len(closes):
        return False  # it closes a bracket of its own
    if rest[0] in "\"'`" and (snapshot.left + text).count(rest[0]) % 2 == 0:
        return False
    return size == len(rest) or bool(closes) or size >= MIN_DISTINCTIVE


def _between_words(text: str, at: int) -> bool:
    return not (text[at - 1 : at].isalnum() and text[at : at + 1].isalnum()) or at == 0


def lines_below(snapshot: Snapshot, text: str) -> str:
    """Cut before a repetition of the lines below the cursor. A text that only repeats them becomes empty."""
    below = _filled(snapshot.after.split("\n")[1 : COMPARED_LINES + 1])
    if snapshot.right.strip() or not below:
        return text
    lines = (snapshot.left + text).split("\n")
    if _same([line.strip() for line in lines], [line.strip() for line in below]):
        return ""
    for n in range(1, len(lines)):
        repeats = _same(lines[n:], below) or (_is_distinctive(lines[n]) and lines[n].rstrip() == below[0])
        if repeats and not _ends_own_block(text.split("\n"), n, snapshot.language):
            return "\n".join(lines[:n])[len(snapshot.left) :]
    return text


def _same(lines: Sequence[str], document: Sequence[str]) -> bool:
    """Return whether ``lines`` are the document's first ones. The last of several may be incomplete."""
    filled = _filled(lines)
    if not filled or len(filled) > len(document):
        return False
    *most, last = filled
    other = document[len(most)]
    return most == list(document[: len(most)]) and (last == other or (len(most) > 1 and other.startswith(last)))


def _ends_own_block(lines: Sequence[str], n: int, language: str) -> bool:
    """Return whether line ``n``, the first to be cut, ends a block that the lines before it begin."""
    first = next(line for line in lines[n:] if line.strip())
    if not _CLOSING.match(first):
        return False
    return not brackets_of(first, language).unopened or bool(brackets_of("\n".join(lines[:n]), language).unclosed)


def lines_above(snapshot: Snapshot, text: str) -> str:
    """Remove a text that only repeats the lines above."""
    own = _filled((snapshot.left + text).split("\n"))
    above = _filled(snapshot.before.split("\n")[-COMPARED_LINES - 1 : -1])
    repeats = not snapshot.left.strip() and own == above[-len(own) :] and any(map(_is_distinctive, own))
    return "" if repeats else text


def loops(snapshot: Snapshot, text: str) -> str:
    """Cut where the text starts to loop: a line the third time, several lines or part of a line the second time."""
    lines = (snapshot.left + text).split("\n")
    for n in range(len(lines)):
        for period in range(1, (len(lines) - n) // 2 + 1):
            if _loops(lines[n:], period):
                return "\n".join(lines[: n + period])[len(snapshot.left) :]
    return _loop_in_line(text)


def _loops(lines: Sequence[str], period: int) -> bool:
    once = lines[:period]
    times = 3 if period == 1 else 2
    repeated = all(list(lines[k * period : (k + 1) * period]) == list(once) for k in range(1, times))
    return repeated and sum(map(_is_distinctive, once)) >= min(period, 2)


def _loop_in_line(text: str) -> str:
    for line in re.finditer(r".+", text):
        for found in _IN_LINE.finditer(line.group()[:_LONGEST_LINE]):
            if any(map(str.isalpha, found[1])):
                return text[: line.start() + found.end(1)]
    return text


def _is_distinctive(line: str) -> bool:
    return len("".join(line.split())) >= MIN_DISTINCTIVE and not _CLOSING.match(line)


def _filled(lines: Sequence[str]) -> list[str]:
    return [line.rstrip() for line in lines if line.strip()]
