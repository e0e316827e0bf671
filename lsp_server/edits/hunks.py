"""Hunks: the smallest changes that turn a part of a document into its rewrite, and rebasing them on a newer document.

Lines are compared first, then words within changed lines. Unchanged text keeps its bytes, line ends included. A hunk is
rebased only if every line it touches is unchanged; its position is never guessed.
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

from inference.errors import CodeLlamaError
from lsp_server.snapshot import with_lf

LINES = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
_WORDS = re.compile(r"\r\n|\n|\r|\w+|[^\S\r\n]+|.")
_WORD = re.compile(r"\w|\r|\n")

MOST_COMPARED = 250_000
"""Limit on pairs of equal lines (or words), which determine the time of a comparison: about a third of a second.
Beyond it a run is replaced as a whole."""
EACH_SAME = 16
"""A run is also replaced as a whole if all its pairs, equal or not, exceed the limit this many times."""

ALIKE = 0.5
"""Share of a run of lines that must stay for its words to be compared. Below it the run is replaced as a whole."""

_END = "\0"
"""Represents the end of the text among its lines, for hunks behind the last line."""


class UnwritableError(CodeLlamaError, ValueError):
    """A rewrite cannot be written between the surrounding line ends (a lone CR before a lone LF)."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """Replace the characters from ``start`` to ``stop`` with ``new``."""

    start: int
    stop: int
    new: str


class DiffRun(NamedTuple):
    """A range of the old sequence and the range of the new one that replaces it; either may be empty."""

    old_start: int
    old_stop: int
    new_start: int
    new_stop: int


class _Unchanged(NamedTuple):
    """An unchanged range of the old text, and its shift ``by`` characters in the new one."""

    start: int
    stop: int
    by: int


def apply_hunks(text: str, hunks: Sequence[Hunk]) -> str:
    """Return the text with all hunks applied; they must be in order and not overlap."""
    parts, at = [], 0
    for hunk in hunks:
        parts += [text[at : hunk.start], hunk.new]
        at = hunk.stop
    return "".join(parts) + text[at:]


def smallest_hunks(
    text: str, start: int, stop: int, rewrite: str, line_end: str, most: int = MOST_COMPARED
) -> list[Hunk]:
    """Return the hunks that turn ``text[start:stop]`` into ``rewrite`` (with LF). New lines end in ``line_end``.

    Applied, they give exactly the rewrite, except that unchanged line ends stay. ``most`` as in ``diff_runs``. Raises
    UnwritableError.
    """
    rewrite = with_lf(rewrite)
    wanted = with_lf(text[:start]) + rewrite + with_lf(text[stop:])
    # A CR moved in front of an LF makes one line end of two. In that case replace everything, if need be with CR LF,
    # which no neighbour changes.
    for hunks in (
        list(_line_hunks(text, start, stop, rewrite, line_end, most)),
        [Hunk(start, stop, rewrite.replace("\n", line_end))],
        [Hunk(start, stop, rewrite.replace("\n", "\r\n"))],
    ):
        if with_lf(apply_hunks(text, hunks)) == wanted:
            return hunks
    raise UnwritableError("The document mixes line ends in a way that this change can't be written into.")


def diff_runs(old: Sequence[str], new: Sequence[str], most: int = MOST_COMPARED) -> list[DiffRun]:
    """Return the differences of two sequences, in order; a single run if comparing exceeds the limit ``most``."""
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


def starts_of(parts: Sequence[str], start: int = 0) -> list[int]:
    """Return the offset of each part, and the end of the last one."""
    return list(accumulate(map(len, parts), initial=start))


def rebase_hunks(old: str, hunks: Sequence[Hunk], new: str) -> list[Hunk] | None:
    """Rebase ``hunks`` from ``old`` to ``new``; return None if a line that any of them touches has changed."""
    kept = [hunk for hunk in rebase_each(old, hunks, new) if hunk is not None]
    return kept if len(kept) == len(hunks) else None


def rebase_each(old: str, hunks: Sequence[Hunk], new: str) -> list[Hunk | None]:
    """Rebase each hunk on its own: None for a hunk with a changed line. The texts are compared only once."""
    if old == new:
        return list(hunks)
    unchanged, starts = _unchanged(old, new), starts_of(LINES.findall(old))
    return [_shifted(hunk, _touched(old, starts, hunk), unchanged) for hunk in hunks]


def rebase_range(old: str, start: int, stop: int, new: str) -> tuple[int, int] | None:
    """Return the range of whole lines of ``old`` in ``new``; None if one of them has changed."""
    hunks = rebase_hunks(old, [Hunk(start, max(stop, start), "")], new)
    return (hunks[0].start, hunks[0].stop) if hunks else None


def _same_pairs(a: Sequence[str], b: Sequence[str]) -> int:
    in_b = Counter(b)
    return sum(n * in_b[item] for item, n in Counter(a).items())


def _line_hunks(text: str, start: int, stop: int, rewrite: str, line_end: str, most: int) -> Iterator[Hunk]:
    old, new = LINES.findall(text[start:stop]), LINES.findall(rewrite)
    starts = starts_of(old, start)
    for run in diff_runs([with_lf(line) for line in old], new, most):
        lines, replacement = old[run.old_start : run.old_stop], "".join(new[run.new_start : run.new_stop])
        for hunk in _word_hunks("".join(lines), replacement, most):
            at = starts[run.old_start]
            yield Hunk(at + hunk.start, at + hunk.stop, hunk.new.replace("\n", line_end))


def _word_hunks(old: str, new: str, most: int) -> list[Hunk]:
    """Return the changed words within a run of lines; the whole run if too little of it stays (``ALIKE``)."""
    whole = [Hunk(0, len(old), new)]
    if not old or not new:
        return whole
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    changed = _joined(diff_runs([with_lf(word) for word in before], after, most), before)
    starts = starts_of(before)
    if len(old) - sum(starts[run.old_stop] - starts[run.old_start] for run in changed) < ALIKE * len(old):
        return whole
    return [
        Hunk(starts[run.old_start], starts[run.old_stop], "".join(after[run.new_start : run.new_stop]))
        for run in changed
    ]


def _joined(changed: Sequence[DiffRun], words: Sequence[str]) -> list[DiffRun]:
    """Join changes that only blanks and punctuation separate."""
    joined: list[DiffRun] = []
    for run in changed:
        if joined and not _WORD.search("".join(words[joined[-1].old_stop : run.old_start])):
            joined[-1] = DiffRun(joined[-1].old_start, run.old_stop, joined[-1].new_start, run.new_stop)
        else:
            joined.append(run)
    return joined


def _shifted(hunk: Hunk, touched: tuple[int, int], unchanged: Sequence[_Unchanged]) -> Hunk | None:
    start, stop = touched
    by = next((span.by for span in unchanged if span.start <= start and stop <= span.stop), None)
    return None if by is None else Hunk(hunk.start + by, hunk.stop + by, hunk.new)


def _unchanged(old: str, new: str) -> list[_Unchanged]:
    """Return the ranges of whole lines that both texts contain, in order."""
    before, after = [*LINES.findall(old), _END], [*LINES.findall(new), _END]
    old_starts, new_starts = starts_of(before), starts_of(after)
    spans, i, j = [], 0, 0
    for run in [*diff_runs(before, after), None]:
        stop = run.old_start if run else len(before)
        if stop > i:
            spans.append(_Unchanged(old_starts[i], old_starts[stop], new_starts[j] - old_starts[i]))
        if run:
            i, j = run.old_stop, run.new_stop
    return spans


def _touched(text: str, starts: Sequence[int], hunk: Hunk) -> tuple[int, int]:
    """Return the range of the lines a hunk changes; for an insertion between lines, both neighbours."""
    between = hunk.start == hunk.stop and text[hunk.start - 1 : hunk.start] in ("\n", "\r")
    first = hunk.start - 1 if between and hunk.start else hunk.start
    last = hunk.stop - 1 if hunk.stop > hunk.start else hunk.stop
    line, behind = bisect_right(starts, first, hi=len(starts) - 1), bisect_right(starts, last)
    return starts[line - 1] if line else 0, starts[behind] if behind < len(starts) else len(text) + len(_END)
