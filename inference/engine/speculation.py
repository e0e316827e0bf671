"""Speculative decoding without a draft model: drafts are copied from known text and verified in one forward pass.

Drafts come from prompt lookup: the tokens that followed an earlier occurrence of the last ones (Saxena 2023, "Prompt
Lookup Decoding", github.com/apoorvumang/prompt-lookup-decoding). Occurrences of a pair of tokens form chains, as in
LZ77 compressors (RFC 1951, section 4).

Speculation changes speed, never text. Each position's token is chosen as it would be without a draft, greedily or at
random, and a drafted token is accepted only if it is the one chosen. For drafts without probabilities this is the rule
of Leviathan et al. 2023 (arXiv 2211.17192, section 2.3). With a seed the samples stay the same, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from torch import Tensor

from inference.engine.draft_length import LONGEST_DRAFT, DraftLength

LONGEST_MATCH = 16
"""Tokens compared before a position. Longer matches are not preferred."""

MAX_OCCURRENCES = 32
"""Earlier occurrences of a pair that are compared, the most recent first."""

REJOIN_WINDOW = 64
"""Tokens after the position last copied from in which a rewrite is expected to rejoin the original."""

SEPARATOR = -1
"""Marks the end of a text. No token; drafts are not copied across it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Tokens that may come next, and how many tokens before them match; longer matches are accepted more often."""

    ids: list[int]
    matched: int


class PromptLookup:
    """An index of token pairs over a growing text and other texts that it may repeat.

    Drafts follow ``prediction`` from its start, as a rewrite of a text does. Where the completion leaves it, the search
    resumes near that position.
    """

    def __init__(
        self,
        text: Sequence[int],
        prediction: Sequence[int] = (),
        others: Iterable[Sequence[int]] = (),
        never: Collection[int] = (),
    ) -> None:
        """Index the texts.

        Args:
            text: the prompt, which the completion continues.
            prediction: text that the completion is expected to follow.
            others: further texts to copy from.
            never: ids that are never drafted.
        """
        self._never = {SEPARATOR, *never}
        self._ids: list[int] = []
        self._latest: dict[tuple[int, int], int] = {}
        self._earlier: list[int] = []  # at i: the previous end of the pair that ends at i, or SEPARATOR
        for other in others:
            self._index([*other, SEPARATOR])
        self._at = len(self._ids) if prediction else None  # position in the prediction, if it is still followed
        self._copying: int | None = None
        self._index([*prediction, SEPARATOR] if prediction else [])
        self._index(text)

    def __len__(self) -> int:
        return len(self._ids)

    def extend(self, tokens: Iterable[int]) -> None:
        """Append tokens of the completion."""
        for token in tokens:
            self._follow(token)
            self._index((token,))

    def draft(self, room: int) -> Draft:
        """Return at most ``room`` tokens that may follow; none where the last two tokens occur nowhere else."""
        start, matched = SEPARATOR, 0
        for position in self._candidates():
            length = self._match_length(position)
            if length > matched:
                start, matched = position, length
            if matched == LONGEST_MATCH:
                break
        self._copying = start if matched else None
        return Draft(self._copy(start, room) if matched else [], matched)

    def _index(self, ids: Sequence[int]) -> None:
        here, latest, earlier = len(self._ids), self._latest, self._earlier
        before = self._ids[-1] if self._ids else SEPARATOR
        for end, pair in enumerate(zip((before, *ids), ids, strict=False), here):
            earlier.append(latest.get(pair, SEPARATOR))
            latest[pair] = end
        self._ids += ids

    def _follow(self, token: int) -> None:
        """Advance where the last draft was copied from, else in the prediction, if ``token`` comes next there."""
        start = self._at if self._copying is None else self._copying
        follows = start is not None and start < len(self._ids) and self._ids[start] == token
        if follows:
            assert start is not None
            self._at = start + 1
        self._copying = self._at if follows and self._copying is not None else None

    def _candidates(self) -> Iterator[int]:
        """Yield positions to copy from, the best of equal matches first: near the prediction, then the most recent.

        Near the prediction one matching token is enough, elsewhere two are needed.
        """
        if not self._ids:
            return
        yield from self._nearby(self._ids[-1])
        end = self._earlier[-1]
        for _ in range(MAX_OCCURRENCES):
            if end == SEPARATOR:
                return
            yield end + 1
            end = self._earlier[end]

    def _nearby(self, last: int) -> Iterator[int]:
        """Yield the positions after ``last``, from the followed position on."""
        if self._at is None:
            return
        position, stop = max(self._at - 1, 0), min(self._at + REJOIN_WINDOW, len(self._ids) - 1)
        while position < stop:
            try:
                position = self._ids.index(last, position, stop) + 1
            except ValueError:
                return
            yield position

    def _match_length(self, start: int) -> int:
        """Return how many tokens before ``start`` equal the last ones, at most ``LONGEST_MATCH``."""
        ids, most, n = self._ids, min(LONGEST_MATCH, start), 1
        while n <= most and ids[start - n] == ids[-n]:
            n += 1
        return n - 1

    def _copy(self, start: int, room: int) -> list[int]:
        """Copy from ``start`` on. A repetition that reaches the end of the text is continued."""
        copied: list[int] = []
        for n in range(start, start + room):
            token = self._ids[n] if n < len(self._ids) else copied[n - len(self._ids)]
            if token in self._never:
                break
            copied.append(token)
        return copied


class Speculation:
    """The drafts of one sequence and their acceptance.

    ``prediction`` and ``others`` (see ``PromptLookup``) are read at the first draft, so they do not delay prefill.

    Attributes:
        drafted: tokens that were verified.
        accepted: drafted tokens that became part of the completion; ``generate`` counts them as it yields them.
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
        self._lookup: PromptLookup | None = None
        self._known = self._matched = 0

    def draft(self, ids: Sequence[int], prompt: int, room: int) -> list[int]:
        """Return at most ``room`` tokens that may follow ``ids``, whose first ``prompt`` tokens are the prompt."""
        if self._lookup is None:
            self._lookup = PromptLookup(ids[:prompt], self._prediction(), self._others, self._never)
            self._known = prompt
        self._lookup.extend(ids[self._known :])
        self._known = len(ids)
        draft = self._lookup.draft(min(room, LONGEST_DRAFT))
        self._matched = draft.matched
        return draft.ids[: self._length.choose(draft.matched, len(draft.ids))]

    def verified(self, draft: int, accepted: int, seconds: float) -> None:
        """Record a step of ``seconds`` that verified the last draft, ``draft`` tokens or none, and accepted some."""
        self._length.costs.learn(1 + draft, seconds)
        if draft:
            self.drafted += draft
            self._length.learn(self._matched, draft, accepted)


def verify(logits: Tensor, draft: Sequence[int], choose: Callable[[Tensor], int]) -> Iterator[int]:
    """Choose a token at each row of ``logits``, up to the first that differs from the draft.

    ``logits`` is float32 ``[1 + len(draft), vocab]``. Yields at least one token, and one more than ``draft`` has if all
    of it is accepted.
    """
    for row, drafted in zip_longest(logits, draft):
        token = choose(row)
        yield token
        if token != drafted:
            return
