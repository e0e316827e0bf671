"""Adaptive draft length for speculative decoding, learnt from acceptance rates and step times. Torch-free.

One more drafted token pays if its chance of being accepted outweighs the longer step. Acceptance rates are kept per
length of match: a draft copied after sixteen matching tokens is accepted more often than one after two.

Source: the expected number of tokens per step is equation 1 of Leviathan et al. 2023 (arXiv 2211.17192).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from inference.models.shape import LOGIT_ROWS

LONGEST_DRAFT = LOGIT_ROWS - 1
"""Tokens. The forward pass also reads the token before the draft, and the planner reserves ``LOGIT_ROWS`` logits."""

DECAY = 0.9
"""Weight of earlier drafts at each new one: roughly the last ten count."""

FIRST_PAUSE, LONGEST_PAUSE = 16, 1024
"""Drafts to skip before a rejected kind is tried again; each failed trial doubles the number."""


class StepCosts:
    """The time of a step of several tokens on this machine, relative to a step of one token.

    Before any measurement, each further token is assumed to cost ``GUESS`` of a step, a value between those measured
    on GPUs and CPUs. Slow samples count little, because other processes may have caused them; fast ones count more.

    Attributes:
        one: seconds of a one-token step; 0 before the first one.
    """

    GUESS = 0.15

    def __init__(self) -> None:
        self.one = 0.0
        self._guesses = {n: 1 + self.GUESS * (n - 1) for n in (2, 4, 8, LOGIT_ROWS)}
        self._measured = {1: 1.0, **self._guesses}
        self._plain_steps = 0
        self._interpolate()

    def learn(self, tokens: int, seconds: float) -> None:
        """Record a step of ``tokens`` that took ``seconds``."""
        if tokens == 1:
            self.one = _smoothed(self.one, seconds) if self.one else seconds
            self._plain_steps += 1
            if self._plain_steps % 64 == 0:
                self._forget()
        elif self.one:
            knot = next(n for n in self._measured if n >= tokens)
            scale = self._measured[knot] / self.ratio(tokens)
            self._measured[knot] = _smoothed(self._measured[knot], scale * seconds / self.one)
            self._interpolate()

    def ratio(self, tokens: int) -> float:
        """Return the time of a step of ``tokens`` divided by that of a one-token step."""
        return self._ratios[tokens]

    def _forget(self) -> None:
        """Move back towards the guesses: lengths that look too expensive are not tried, so they get no new samples."""
        for n, guess in self._guesses.items():
            self._measured[n] += 0.5 * (guess - self._measured[n])
        self._interpolate()

    def _interpolate(self) -> None:
        """Interpolate linearly between the measured lengths."""
        knots = list(self._measured.items())
        self._ratios = [0.0, 1.0]
        for (low, below), (high, above) in pairwise(knots):
            self._ratios += [below + (above - below) * n / (high - low) for n in range(1, high - low + 1)]


def _smoothed(old: float, new: float) -> float:
    """Move half-way to a faster sample, a tenth of the way to a slower one."""
    return old + (0.5 * (new - old) if new < old else 0.1 * (min(new, 2 * old) - old))


@dataclass(slots=True)
class AcceptanceStats:
    """Acceptance of drafts with similar match lengths.

    Attributes:
        accepted: decayed count of accepted tokens.
        rejected: decayed count of drafts with a rejected token.
        skipped: drafts skipped since the last trial.
        pause: drafts to skip between trials.
        on_trial: the next result is that of a trial.
    """

    accepted: float
    rejected: float = 1.0
    skipped: int = 0
    pause: int = FIRST_PAUSE
    on_trial: bool = False

    @property
    def rate(self) -> float:
        """Probability that a drafted token is accepted, given that those before it were."""
        return self.accepted / (self.accepted + self.rejected)

    def learn(self, drafted: int, accepted: int) -> None:
        """Record a draft of ``drafted`` tokens, of which the first ``accepted`` were accepted."""
        self.accepted = DECAY * self.accepted + accepted
        self.rejected = DECAY * self.rejected + (accepted < drafted)
        if self.on_trial and accepted:
            self.rejected, self.pause = min(self.rejected, 1.0), FIRST_PAUSE
        elif self.on_trial:
            self.pause = min(2 * self.pause, LONGEST_PAUSE)
        self.on_trial = False

    def try_again(self) -> bool:
        """Return whether to try a draft that is unlikely to pay, after a pause."""
        self.skipped += 1
        self.on_trial = self.skipped >= self.pause
        if self.on_trial:
            self.skipped = 0
        return self.on_trial


class DraftLength:
    """Chooses the length of each draft. All sequences of a model share one, so that short ones profit too.

    A step with a draft takes at most ``limit`` seconds, or twice a one-token step where that is longer.
    """

    def __init__(self, limit: float, costs: StepCosts | None = None) -> None:
        self.costs = costs or StepCosts()
        self._limit = limit
        self._stats: dict[int, AcceptanceStats] = {}

    def choose(self, matched: int, available: int) -> int:
        """Return how many of ``available`` drafted tokens to verify; 0 if a draft is unlikely to pay.

        ``matched`` is the number of tokens that matched before the draft. Match lengths that don't pay are tried again
        now and then, with one token.
        """
        if not self.costs.one or not available:
            return 0
        stats = self._stats_of(matched)
        rate = stats.rate
        limit = max(self._limit / self.costs.one, 2.0)
        best, gain, probability, expected = 0, 1.0, 1.0, 1.0
        for length in range(1, min(available, LONGEST_DRAFT) + 1):
            probability *= rate
            expected += probability
            cost = self.costs.ratio(length + 1)
            if cost > limit:
                break
            if expected / cost > gain:
                best, gain = length, expected / cost
        return best or int(stats.try_again())

    def learn(self, matched: int, drafted: int, accepted: int) -> None:
        """Record a draft of ``drafted`` tokens after ``matched`` matching ones, and how many were accepted."""
        self._stats_of(matched).learn(drafted, accepted)

    def _stats_of(self, matched: int) -> AcceptanceStats:
        """Return the statistics of this match length; the prior is Laplace's rule of succession after ``matched``."""
        return self._stats.setdefault(matched.bit_length(), AcceptanceStats(accepted=matched + 1.0))
