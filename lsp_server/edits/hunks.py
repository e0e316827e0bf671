"""The smallest set of changes that turns a piece of a document into its rewrite: lines first, then words within them.

Pure. What does not change keeps its bytes, line ends included; new lines end as it is said. Knows no syntax.

A document that changed while the model wrote: the same changes in the document as it is now, or none.

Pure. A hunk goes along where every line it touches is as it was; it is never put elsewhere on a guess.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate
from typing import NamedTuple

from lsp_server.snapshot import with_lf

LINES = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
_WORDS = re.compile(r"\r\n|\n|\r|\w+|[^\S\r\n]+|.")
_WORD = re.compile(r"\w|\r|\n")

MOST_COMPARED = 250_000
"""Pairs of a line (or word) and one that is the same, which is what comparing takes its time for: a third of a second.
Beyond that a run is replaced as a whole, as it is where there are ``EACH_SAME`` times as many pairs at all."""
EACH_SAME = 16

ALIKE = 0.5
"""How much of a run of lines must stay for its words to be told apart; of less, single words are confetti."""


class UnwritableError(ValueError):
    """A rewrite that can't be written with the line ends that stand around it (a lone CR before a lone LF)."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """Put ``new`` in place of what stands from ``start`` to ``stop``."""

    start: int
    stop: int
    new: str


class DiffRun(NamedTuple):
    """Items of the old sequence that give way to items of the new one; either may be none."""

    old_start: int
    old_stop: int
    new_start: int
    new_stop: int


def applied(text: str, hunks: Sequence[Hunk]) -> str:
    """The text with all hunks, which are in order and do not overlap."""
    pieces, at = [], 0
    for hunk in hunks:
        pieces += [text[at : hunk.start], hunk.new]
        at = hunk.stop
    return "".join(pieces) + text[at:]


def smallest(text: str, start: int, stop: int, rewrite: str, line_end: str, most: int = MOST_COMPARED) -> list[Hunk]:
    """What turns ``text[start:stop]`` into ``rewrite`` (of LF), new lines ending in ``line_end``.

    Applied, it is the rewrite exactly, but for the line ends that stay as they were. ``most`` as in ``runs``. Raises
    UnwritableError.
    """
    rewrite = with_lf(rewrite)
    wanted = with_lf(text[:start]) + rewrite + with_lf(text[stop:])
    # A CR that comes to stand before an LF is one line end instead of two: then all of it is written anew, at last
    # with line ends that no neighbour changes.
    for found in (
        list(_small(text, start, stop, rewrite, line_end, most)),
        [Hunk(start, stop, rewrite.replace("\n", line_end))],
        [Hunk(start, stop, rewrite.replace("\n", "\r\n"))],
    ):
        if with_lf(applied(text, found)) == wanted:
            return found
    raise UnwritableError("The document mixes line ends in a way that this change can't be written into.")


def runs(old: Sequence[str], new: Sequence[str], most: int = MOST_COMPARED) -> list[DiffRun]:
    """Where two sequences differ, in order; as one run where comparing would take more than ``most`` allows."""
    head = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    rest = min(len(old), len(new)) - head
    pairs = zip(reversed(old), reversed(new), strict=False)
    tail = next((n for n, (a, b) in enumerate(pairs) if n >= rest or a != b), rest)
    a, b = old[head : len(old) - tail], new[head : len(new) - tail]
    if not a and not b:
        return []
    if not a or not b or len(a) * len(b) > EACH_SAME * most or _same_pairs(a, b) > most:
        return [DiffRun(head, head + len(a), head, head + len(b))]
    opcodes = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    return [DiffRun(head + i, head + j, head + k, head + m) for kind, i, j, k, m in opcodes if kind != "equal"]


def _same_pairs(a: Sequence[str], b: Sequence[str]) -> int:
    in_b = Counter(b)
    return sum(n * in_b[item] for item, n in Counter(a).items())


def starts_of(pieces: Sequence[str], start: int = 0) -> list[int]:
    """Where each piece begins, and where the last one ends."""
    return list(accumulate(map(len, pieces), initial=start))


def _small(text: str, start: int, stop: int, rewrite: str, line_end: str, most: int) -> Iterator[Hunk]:
    old, new = LINES.findall(text[start:stop]), LINES.findall(rewrite)
    starts = starts_of(old, start)
    for run in runs([with_lf(line) for line in old], new, most):
        lines, put = old[run.old_start : run.old_stop], "".join(new[run.new_start : run.new_stop])
        for hunk in _words("".join(lines), put, most):
            at = starts[run.old_start]
            yield Hunk(at + hunk.start, at + hunk.stop, hunk.new.replace("\n", line_end))


def _words(old: str, new: str, most: int) -> list[Hunk]:
    """What changes within a run of lines; all of it where little stays."""
    whole = [Hunk(0, len(old), new)]
    if not old or not new:
        return whole
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    changed = _joined(runs([with_lf(word) for word in before], after, most), before)
    starts = starts_of(before)
    if len(old) - sum(starts[run.old_stop] - starts[run.old_start] for run in changed) < ALIKE * len(old):
        return whole
    return [
        Hunk(starts[run.old_start], starts[run.old_stop], "".join(after[run.new_start : run.new_stop]))
        for run in changed
    ]


def _joined(changed: Sequence[DiffRun], words: Sequence[str]) -> list[DiffRun]:
    """Changes with nothing but blanks and signs between them are one, as a person would make it."""
    found: list[DiffRun] = []
    for run in changed:
        if found and not _WORD.search("".join(words[found[-1].old_stop : run.old_start])):
            found[-1] = DiffRun(found[-1].old_start, run.old_stop, found[-1].new_start, run.new_stop)
        else:
            found.append(run)
    return found


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
