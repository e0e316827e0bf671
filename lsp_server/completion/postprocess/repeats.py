"""What a completion says that is there already, or says again and again. Pure; knows no engine and no LSP."""

from __future__ import annotations

import re
from collections.abc import Sequence

from inference.text.syntax_position import position_at
from lsp_server.completion.postprocess.brackets import brackets_of
from lsp_server.snapshot import Snapshot

LOOKED_AT = 50
"""Lines above and below the cursor that are compared."""
TELLING = 8
"""Characters of a line that is no coincidence, without blanks."""
_CLOSING = re.compile(r"[\s)\]};,]*$|\s*(?:end|fi|done|esac)\b")
_IN_LINE = re.compile(r"(.{3,60}?)\1{3,}")
_LONGEST_LINE = 600


def rest_of_line(snapshot: Snapshot, text: str) -> str:
    """Without what stands right of the cursor: all of that, or its beginning, at the text's end; all, anywhere."""
    rest = snapshot.right.strip()
    if not rest:
        return text
    whole = text.find(rest) if len(rest) >= TELLING else -1
    if whole >= 0 and _between_words(text, whole):
        return text[:whole]
    for size in range(min(len(rest), len(text)), 0, -1):
        if text.endswith(rest[:size]) and _says_again(snapshot, text, rest, size):
            return text[: len(text) - size]
    return text


def _says_again(snapshot: Snapshot, text: str, rest: str, size: int) -> bool:
    """Whether the last ``size`` characters are the rest's first ones, rather than like them."""
    start = len(text) - size
    if not _between_words(text, start) or (size < len(rest) and not _between_words(rest, size)):
        return False
    if position_at(snapshot.language, snapshot.before).inside != "code":
        return size == len(rest) or size >= TELLING
    closes = brackets_of(text[start:], snapshot.language).unopened
    if closes and len(brackets_of(text, snapshot.language).unopened) < len(closes):
        return False  # it closes what it opened itself
    if rest[0] in "\"'`" and (snapshot.left + text).count(rest[0]) % 2 == 0:
        return False
    return size == len(rest) or bool(closes) or size >= TELLING


def _between_words(text: str, at: int) -> bool:
    return not (text[at - 1 : at].isalnum() and text[at : at + 1].isalnum()) or at == 0


def lines_below(snapshot: Snapshot, text: str) -> str:
    """Without the lines that stand below the cursor; nothing is left of a text that says only those."""
    below = _filled(snapshot.after.split("\n")[1 : LOOKED_AT + 1])
    if snapshot.right.strip() or not below:
        return text
    lines = (snapshot.left + text).split("\n")
    if _same([line.strip() for line in lines], [line.strip() for line in below]):
        return ""
    for n in range(1, len(lines)):
        repeats = _same(lines[n:], below) or (_telling(lines[n]) and lines[n].rstrip() == below[0])
        if repeats and not _own_end(text.split("\n"), n, snapshot.language):
            return "\n".join(lines[:n])[len(snapshot.left) :]
    return text


def _same(said: Sequence[str], there: Sequence[str]) -> bool:
    """Whether the lines that were said are the first of those that are there; of two or more the last may be cut."""
    filled = _filled(said)
    if not filled or len(filled) > len(there):
        return False
    *most, last = filled
    beside = there[len(most)]
    return most == list(there[: len(most)]) and (last == beside or (len(most) > 1 and beside.startswith(last)))


def _own_end(lines: Sequence[str], n: int, language: str) -> bool:
    """Whether line ``n``, the first to be cut, ends something that the lines before it begin."""
    first = next(line for line in lines[n:] if line.strip())
    if not _CLOSING.match(first):
        return False
    return not brackets_of(first, language).unopened or bool(brackets_of("\n".join(lines[:n]), language).unclosed)


def lines_above(snapshot: Snapshot, text: str) -> str:
    """Nothing, if it says just what the lines above say."""
    said = _filled((snapshot.left + text).split("\n"))
    above = _filled(snapshot.before.split("\n")[-LOOKED_AT - 1 : -1])
    again = not snapshot.left.strip() and said == above[-len(said) :] and any(map(_telling, said))
    return "" if again else text


def loops(snapshot: Snapshot, text: str) -> str:
    """Cut where it begins to go round: the same line a third time, the same lines or part of a line once more."""
    lines = (snapshot.left + text).split("\n")
    for n in range(len(lines)):
        for period in range(1, (len(lines) - n) // 2 + 1):
            if _goes_round(lines[n:], period):
                return "\n".join(lines[: n + period])[len(snapshot.left) :]
    return _loop_in_line(text)


def _goes_round(lines: Sequence[str], period: int) -> bool:
    once = lines[:period]
    times = 3 if period == 1 else 2
    again = all(list(lines[k * period : (k + 1) * period]) == list(once) for k in range(1, times))
    return again and sum(map(_telling, once)) >= min(period, 2)


def _loop_in_line(text: str) -> str:
    for line in re.finditer(r".+", text):
        for found in _IN_LINE.finditer(line.group()[:_LONGEST_LINE]):
            if any(map(str.isalpha, found[1])):
                return text[: line.start() + found.end(1)]
    return text


def _telling(line: str) -> bool:
    return len("".join(line.split())) >= TELLING and not _CLOSING.match(line)


def _filled(lines: Sequence[str]) -> list[str]:
    return [line.rstrip() for line in lines if line.strip()]
