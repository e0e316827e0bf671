"""How many tokens to draft: as many as are worth the longer step, learnt from what was accepted and what it took.

Knows no model and no ids. Drafting one token more pays where it is likely enough to be right; that likelihood is kept
for each length of match, as a place that agrees with sixteen tokens is copied from with more right than one with two.

Source: the expected number of tokens of a step is that of Leviathan et al. 2023 (arXiv 2211.17192), equation 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from inference.models.shape import LOGIT_ROWS

LONGEST_DRAFT = LOGIT_ROWS - 1
"""The token before the draft is read with it, and the planner has reserved logits for so many."""

MEMORY = 0.9
"""What a draft counts once another one was judged: about the last ten are remembered."""

FIRST_PAUSE, LONGEST_PAUSE = 16, 1024
"""How many drafts are left out before a hopeless kind is tried again; each trial that fails doubles it."""


class StepCosts:
    """Seconds that a step of several tokens takes on this machine, against one of one token.

    Until it was measured a token more is taken to cost ``GUESS`` of a step: between what GPUs and CPUs were seen to
    take. A slow step changes little, as others may have had the machine; a fast one is believed.
    """

    GUESS = 0.15

    def __init__(self) -> None:
        self.one = 0.0
        self._guesses = {n: 1 + self.GUESS * (n - 1) for n in (2, 4, 8, LOGIT_ROWS)}
        self._measured = {1: 1.0, **self._guesses}
        self._plain_steps = 0
        self._interpolate()

    def learn(self, tokens: int, seconds: float) -> None:
        """A step of ``tokens`` took ``seconds``."""
        if tokens == 1:
            self.one = _moved(self.one, seconds) if self.one else seconds
            self._plain_steps += 1
            if self._plain_steps % 64 == 0:
                self._forget()
        elif self.one:
            knot = next(n for n in self._measured if n >= tokens)
            scale = self._measured[knot] / self.ratio(tokens)
            self._measured[knot] = _moved(self._measured[knot], scale * seconds / self.one)
            self._interpolate()

    def ratio(self, tokens: int) -> float:
        """Steps of one token that a step of ``tokens`` is worth."""
        return self._ratios[tokens]

    def _forget(self) -> None:
        """What was too dear once is not tried, and so would be for ever."""
        for n, guess in self._guesses.items():
            self._measured[n] += 0.5 * (guess - self._measured[n])
        self._interpolate()

    def _interpolate(self) -> None:
        """On straight lines between what is kept."""
        knots = list(self._measured.items())
        self._ratios = [0.0, 1.0]
        for (low, below), (high, above) in pairwise(knots):
            self._ratios += [below + (above - below) * n / (high - low) for n in range(1, high - low + 1)]


def _moved(old: float, new: float) -> float:
    return old + (0.5 * (new - old) if new < old else 0.1 * (min(new, 2 * old) - old))


@dataclass(slots=True)
class Kind:
    """Drafts whose matches are about as long as each other: tokens accepted, drafts that ended in a wrong one."""

    accepted: float
    rejected: float = 1.0
    left_out: int = 0
    pause: int = FIRST_PAUSE
    on_trial: bool = False

    @property
    def rate(self) -> float:
        """How likely the next drafted token is right, given that those before it were."""
        return self.accepted / (self.accepted + self.rejected)

    def learn(self, drafted: int, accepted: int) -> None:
        """Of ``drafted`` tokens, the first ``accepted`` were right."""
        self.accepted = MEMORY * self.accepted + accepted
        self.rejected = MEMORY * self.rejected + (accepted < drafted)
        if self.on_trial and accepted:
            self.rejected, self.pause = min(self.rejected, 1.0), FIRST_PAUSE
        elif self.on_trial:
            self.pause = min(2 * self.pause, LONGEST_PAUSE)
        self.on_trial = False

    def try_again(self) -> bool:
        """Whether this hopeless kind's turn has come."""
        self.left_out += 1
        self.on_trial = self.left_out >= self.pause
        if self.on_trial:
            self.left_out = 0
        return self.on_trial


class DraftLength:
    """Chooses the length of each draft. One is shared by all answers of a model, so that short ones learn too.

    No step is chosen that takes longer than ``limit`` seconds, if that is more than two steps of one token.
    """

    def __init__(self, limit: float, costs: StepCosts | None = None) -> None:
        self.costs = costs or StepCosts()
        self._limit = limit
        self._kinds: dict[int, Kind] = {}

    def choose(self, matched: int, available: int) -> int:
        """How many of ``available`` drafted tokens to verify; 0 where that is unlikely to be worth it.

        A kind of draft that is not is tried again now and then, with one token.
        """
        if not self.costs.one or not available:
            return 0
        kind = self._kind(matched)
        rate = kind.rate
        limit = max(self._limit / self.costs.one, 2.0)
        best, gain, right, expected = 0, 1.0, 1.0, 1.0
        for length in range(1, min(available, LONGEST_DRAFT) + 1):
            right *= rate
            expected += right
            cost = self.costs.ratio(length + 1)
            if cost > limit:
                break
            if expected / cost > gain:
                best, gain = length, expected / cost
        return best or int(kind.try_again())

    def learn(self, matched: int, drafted: int, accepted: int) -> None:
        """Of ``drafted`` tokens, the first ``accepted`` were right."""
        self._kind(matched).learn(drafted, accepted)

    def _kind(self, matched: int) -> Kind:
        """At first as likely to go on as Laplace's rule of succession has it after ``matched`` successes."""
        return self._kinds.setdefault(matched.bit_length(), Kind(accepted=matched + 1.0))
