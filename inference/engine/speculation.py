"""Drafts without a second model: what followed, earlier on, the last tokens of a text.

Ids in, ids out: knows no model, no probabilities and no time. Torch-free. A pair of tokens is looked up where it stood
last, then before that, and so on, and the place that agrees the furthest back is copied from. A text that is being
rewritten is walked along: where the answer left it, the search begins anew around there.

Source: Saxena 2023, "Prompt Lookup Decoding" (github.com/apoorvumang/prompt-lookup-decoding); the chains of earlier
places are those of LZ77 compressors (RFC 1951, section 4).

Speculative decoding of one answer: drafts from its own text, verified by the model in one forward pass.

What the model would have said, it says, only sooner. Each position's token is chosen as it would be without a draft,
greedily or at random, and the drafted token is kept only where it is the one chosen. For a draft without probabilities
that is the rule of Leviathan et al. 2023 (arXiv 2211.17192, section 2.3): the drafted token is accepted with the
probability the model gives it, else another is drawn from what remains. With a seed even the draws stay the same.

Knows neither requests nor KV sessions; ``decode`` takes back what was read in vain.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from torch import Tensor

from inference.engine.draft_length import LONGEST_DRAFT, DraftLength

LONGEST_MATCH = 16
"""Tokens compared before a place: whichever agrees so far is as good as any other."""

PLACES = 32
"""Earlier places of a pair that are compared, the most recent first."""

WINDOW = 64
"""Tokens after the place last copied from in which a rewrite is expected to come back to it."""

NOTHING = -1
"""Stands between two texts; no token, and nothing is copied across it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What may come next, and how many tokens before it stood before it then, too: the more the better."""

    ids: list[int]
    matched: int


class Ngrams:
    """An answer as it grows, with everything before it and other texts it may repeat.

    ``text`` is what the answer continues. It is expected to walk along ``prediction``, from whose start the search
    begins. ``others`` are only looked up. Tokens in ``never`` are not drafted.
    """

    def __init__(
        self,
        text: Sequence[int],
        prediction: Sequence[int] = (),
        others: Iterable[Sequence[int]] = (),
        never: Collection[int] = (),
    ) -> None:
        self._never = {NOTHING, *never}
        self._ids: list[int] = []
        self._latest: dict[tuple[int, int], int] = {}
        self._earlier: list[int] = []  # at i: where the pair that ends at i ended the time before, or NOTHING
        for other in others:
            self._index([*other, NOTHING])
        self._at = len(self._ids) if prediction else None  # what the answer would go on with, if it still walks along
        self._copying: int | None = None
        self._index([*prediction, NOTHING] if prediction else [])
        self._index(text)

    def __len__(self) -> int:
        return len(self._ids)

    def extend(self, answer: Iterable[int]) -> None:
        """More of the answer is known."""
        for token in answer:
            self._walk(token)
            self._index((token,))

    def draft(self, room: int) -> Draft:
        """At most ``room`` tokens that may follow; none where the last two stood nowhere else."""
        start, matched = NOTHING, 0
        for place in self._places():
            agreeing = self._matched(place)
            if agreeing > matched:
                start, matched = place, agreeing
            if matched == LONGEST_MATCH:
                break
        self._copying = start if matched else None
        return Draft(self._copy(start, room) if matched else [], matched)

    def _index(self, ids: Sequence[int]) -> None:
        here, latest, earlier = len(self._ids), self._latest, self._earlier
        before = self._ids[-1] if self._ids else NOTHING
        for end, pair in enumerate(zip((before, *ids), ids, strict=False), here):
            earlier.append(latest.get(pair, NOTHING))
            latest[pair] = end
        self._ids += ids

    def _walk(self, token: int) -> None:
        """Follow the draft last made, once its first token was right; else the walk it would have left."""
        start = self._at if self._copying is None else self._copying
        going = start is not None and start < len(self._ids) and self._ids[start] == token
        if going:
            assert start is not None
            self._at = start + 1
        self._copying = self._at if going and self._copying is not None else None

    def _places(self) -> Iterator[int]:
        """Where to copy from. Of equally good ones the first is best: along the walk, then the most recent.

        There one token has to agree, elsewhere two.
        """
        if not self._ids:
            return
        yield from self._nearby(self._ids[-1])
        place = self._earlier[-1]
        for _ in range(PLACES):
            if place == NOTHING:
                return
            yield place + 1
            place = self._earlier[place]

    def _nearby(self, last: int) -> Iterator[int]:
        """Places from the walk on that ``last`` stands before."""
        if self._at is None:
            return
        place, stop = max(self._at - 1, 0), min(self._at + WINDOW, len(self._ids) - 1)
        while place < stop:
            try:
                place = self._ids.index(last, place, stop) + 1
            except ValueError:
                return
            yield place

    def _matched(self, start: int) -> int:
        """How many tokens before ``start`` equal the last ones, at most ``LONGEST_MATCH``."""
        ids, most, n = self._ids, min(LONGEST_MATCH, start), 1
        while n <= most and ids[start - n] == ids[-n]:
            n += 1
        return n - 1

    def _copy(self, start: int, room: int) -> list[int]:
        """From ``start`` on; what repeats itself up to the end goes on repeating itself."""
        copied: list[int] = []
        for n in range(start, start + room):
            token = self._ids[n] if n < len(self._ids) else copied[n - len(self._ids)]
            if token in self._never:
                break
            copied.append(token)
        return copied


class Speculation:
    """The drafts of one answer, and how they fared.

    ``prediction`` is read at the first draft only, so that nobody waits for it, as are ``others`` (see ``Ngrams``).

    Attributes:
        drafted: tokens that were verified.
        accepted: those of them that the answer was given; ``decode`` counts them as they are handed over.
    """

    def __init__(
        self,
        length: DraftLength,
        never: frozenset[int] = frozenset(),
        prediction: Callable[[], Sequence[int]] = list,
        others: Iterable[Sequence[int]] = (),
    ) -> None:
        self.drafted = self.accepted = 0
        self._length = length
        self._never = never
        self._prediction, self._others = prediction, others
        self._ngrams: Ngrams | None = None
        self._known = self._matched = 0

    def draft(self, ids: Sequence[int], prompt: int, room: int) -> list[int]:
        """What may follow ``ids``, of which the first ``prompt`` were given: at most ``room`` tokens, often none."""
        if self._ngrams is None:
            self._ngrams = Ngrams(ids[:prompt], self._prediction(), self._others, self._never)
            self._known = prompt
        self._ngrams.extend(ids[self._known :])
        self._known = len(ids)
        found = self._ngrams.draft(min(room, LONGEST_DRAFT))
        self._matched = found.matched
        return found.ids[: self._length.choose(found.matched, len(found.ids))]

    def verified(self, draft: int, accepted: int, seconds: float) -> None:
        """The step with the last draft, of ``draft`` tokens or none, took ``seconds``; ``accepted`` were right."""
        self._length.costs.learn(1 + draft, seconds)
        if draft:
            self.drafted += draft
            self._length.learn(self._matched, draft, accepted)


def verify(logits: Tensor, draft: Sequence[int], choose: Callable[[Tensor], int]) -> Iterator[int]:
    """The tokens chosen at each row of ``logits`` ``[1 + len(draft), vocab]``, up to the first the draft did not have.

    At least one, and one more than the draft has where all of it was right.
    """
    for row, guess in zip_longest(logits, draft):
        token = choose(row)
        yield token
        if token != guess:
            return
