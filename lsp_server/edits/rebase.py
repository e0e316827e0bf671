"""A document that changed while the model wrote: the same changes in the document as it is now, or none.

Pure. A hunk goes along where every line it touches is as it was; it is never put elsewhere on a guess.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from lsp_server.edits.hunks import LINES, Hunk, runs, starts_of

_END = "\0"
"""Stands for the text's end among its lines: where a line is added behind the last one."""


class _Same(NamedTuple):
    """Characters of the old text that stand in the new one, as many further on as ``by`` says."""

    start: int
    stop: int
    by: int


def rebased(old: str, hunks: Sequence[Hunk], new: str) -> list[Hunk] | None:
    """``hunks`` of ``old`` as hunks of ``new``; None where a line that one of them touches has changed."""
    found = [hunk for hunk in each(old, hunks, new) if hunk is not None]
    return found if len(found) == len(hunks) else None


def each(old: str, hunks: Sequence[Hunk], new: str) -> list[Hunk | None]:
    """The same one by one: None for a hunk of which a line has changed. The texts are compared once."""
    if old == new:
        return list(hunks)
    same, starts = _unchanged(old, new), starts_of(LINES.findall(old))
    return [_along(hunk, _touched(old, starts, hunk), same) for hunk in hunks]


def _along(hunk: Hunk, touched: tuple[int, int], same: Sequence[_Same]) -> Hunk | None:
    start, stop = touched
    by = next((piece.by for piece in same if piece.start <= start and stop <= piece.stop), None)
    return None if by is None else Hunk(hunk.start + by, hunk.stop + by, hunk.new)


def moved(old: str, start: int, stop: int, new: str) -> tuple[int, int] | None:
    """Where whole lines of ``old`` stand in ``new``; None where one of them has changed."""
    found = rebased(old, [Hunk(start, max(stop, start), "")], new)
    return (found[0].start, found[0].stop) if found else None


def _unchanged(old: str, new: str) -> list[_Same]:
    """Pieces of whole lines that stand in both, in order."""
    before, after = [*LINES.findall(old), _END], [*LINES.findall(new), _END]
    old_starts, new_starts = starts_of(before), starts_of(after)
    found, i, j = [], 0, 0
    for run in [*runs(before, after), None]:
        stop = run.old_start if run else len(before)
        if stop > i:
            found.append(_Same(old_starts[i], old_starts[stop], new_starts[j] - old_starts[i]))
        if run:
            i, j = run.old_stop, run.new_stop
    return found


def _touched(text: str, starts: Sequence[int], hunk: Hunk) -> tuple[int, int]:
    """The lines a hunk changes; for one that only adds, those it stands between."""
    between = hunk.start == hunk.stop and text[hunk.start - 1 : hunk.start] in ("\n", "\r")
    first = hunk.start - 1 if between and hunk.start else hunk.start
    last = hunk.stop - 1 if hunk.stop > hunk.start else hunk.stop
    line, behind = bisect_right(starts, first, hi=len(starts) - 1), bisect_right(starts, last)
    return starts[line - 1] if line else 0, starts[behind] if behind < len(starts) else len(text) + len(_END)
