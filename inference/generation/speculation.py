"""Speculative decoding of one answer: drafts from its own text, verified by the model in one forward pass.

What the model would have said, it says, only sooner. Each position's token is chosen as it would be without a draft,
greedily or at random, and the drafted token is kept only where it is the one chosen. For a draft without probabilities
that is the rule of Leviathan et al. 2023 (arXiv 2211.17192, section 2.3): the drafted token is accepted with the
probability the model gives it, else another is drawn from what remains. With a seed even the draws stay the same.

Knows neither requests nor KV sessions; ``decode`` takes back what was read in vain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest

from torch import Tensor

from inference.generation.draft_length import LONGEST_DRAFT, DraftLength
from inference.generation.ngrams import Ngrams


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
