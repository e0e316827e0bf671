"""One request's state while the engine generates: prompt, sampler, stop rules, text, usage, token probabilities.

A role's context length and KV memory limit the sequences that serve it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from inference.api.events import Cause, Finished, Outcome, Sampling, Steps, TextChunk, TokenProbability
from inference.engine.decode import Prefilled
from inference.engine.sampling import (
    Healing,
    Sampler,
    make_sampler,
    token_probability,
    with_forced_ids,
    with_healing,
    with_min_tokens,
)
from inference.engine.speculation import Speculation
from inference.models.language_model import KVPool
from inference.text.prompts import Prompt
from inference.text.stopping import Stopper
from inference.text.tokenizer import Detokenizer, Tokenizer
from inference.text.vocabulary import Vocabulary

log = logging.getLogger(__name__)

MIN_CONTEXT = 256
"""Tokens. A shorter context holds no useful prompt."""


@dataclass(frozen=True, slots=True)
class ContextBudget:
    """The tokens that one request may use: ``context`` for prompt and completion together."""

    context: int

    def prompt_tokens(self, completion: int) -> int:
        """Return the tokens that remain for the prompt beside ``completion`` tokens: at least half of the context."""
        return self.context - self.completion_tokens(completion)

    def completion_tokens(self, wanted: int) -> int:
        """Return ``wanted``, but at most half of the context."""
        return min(wanted, self.context // 2)

    def room(self, prompt: Prompt, sampling: Sampling) -> int:
        """Return how many tokens may be generated after ``prompt``."""
        healed = len(prompt.heal.encode())  # at most one token per byte goes into text that is already there
        return min(self.completion_tokens(sampling.max_tokens) + healed, self.context - len(prompt.ids))


@dataclass(slots=True)
class RoleMemory:
    """One role's context budget and its pool of KV sessions."""

    budget: ContextBudget
    pool: KVPool

    def shorten(self) -> bool:
        """Halve the context after memory ran out. Return False if it would get too short to be useful."""
        tokens = self.budget.context // 2
        if tokens < MIN_CONTEXT:
            return False
        self.budget, self.pool.limit = ContextBudget(tokens), tokens
        self.pool.evict()  # a session longer than the new limit would otherwise stay
        log.warning("memory ran out: the context is %d tokens from now on", tokens)
        return True


@dataclass
class Meter:
    """Tokens and times of one generation while it runs. Times are ``time.perf_counter()`` values."""

    prompt_tokens: int
    speculation: Speculation | None = None
    dropped_messages: int = 0
    cut_tokens: int = 0
    reused_tokens: int = 0
    completion_tokens: int = 0
    started: float = field(default_factory=time.perf_counter)
    prefilled_at: float = 0.0

    def prefilled(self, step: Prefilled) -> None:
        """Record a prefill chunk."""
        self.prefilled_at = time.perf_counter()
        self.reused_tokens = step.reused

    def outcome(self, cause: Cause) -> Outcome:
        """Summarise the generation as an ``Outcome``."""
        drafted, accepted = (s.drafted, s.accepted) if (s := self.speculation) else (0, 0)
        return Outcome(
            cause=cause,
            prompt_tokens=self.prompt_tokens,
            reused_tokens=self.reused_tokens,
            completion_tokens=self.completion_tokens,
            accepted_tokens=accepted,
            rejected_tokens=drafted - accepted,
            dropped_messages=self.dropped_messages,
            cut_tokens=self.cut_tokens,
            prefill_ms=(self.prefilled_at - self.started) * 1000,
            decode_ms=(time.perf_counter() - self.prefilled_at) * 1000,
        )


class Sequence:
    """One generation of one request.

    The engine passes ``sampler`` to the model's steps and turns those steps into events with ``events``.

    Attributes:
        prompt: token ids to prefill, end tokens, and text to heal.
        sampler: chooses each token once, in order; it keeps the probabilities if the request wants them.
        speculation: drafts for this sequence, or None.
    """

    def __init__(
        self,
        prompt: Prompt,
        sampling: Sampling,
        stopper: Stopper,
        deadline: float | None,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        speculation: Speculation | None = None,
    ) -> None:
        """Begin a generation. ``deadline`` is a ``time.perf_counter()`` value."""
        self.prompt, self.speculation = prompt, speculation
        self._sampling, self._stopper, self._deadline = sampling, stopper, deadline
        self._piece_bytes = tokenizer.piece_bytes
        self._text = Detokenizer(tokenizer, skip=len(prompt.heal.encode()))
        self._meter = Meter(len(prompt.ids), speculation, prompt.dropped, prompt.cut)
        self._choose = self._constrained(tokenizer, vocabulary)
        self.sampler: Sampler = self._choose if sampling.logprobs is None else self._choose_and_keep
        self._probabilities: list[TokenProbability] = []  # one per chosen token, without those already shown
        self._unshown = 0  # of those, the tokens that ``events`` has received

    def events(self, steps: Iterator[Prefilled | int]) -> Steps:
        """Yield one event or None per step, and ``Finished`` at the end."""
        cause: Cause | None = None
        for step in steps:
            text = ""
            if isinstance(step, Prefilled):
                self._meter.prefilled(step)
            elif step in self.prompt.stop_ids:
                cause = "end"
                break
            else:
                self._meter.completion_tokens += 1
                self._unshown += 1
                text = self._stopper.feed(self._text.feed(step))
            late = self._deadline and time.perf_counter() > self._deadline
            cause = self._stopper.cause or ("deadline" if late else None)
            yield self._shown(text) if text else None
            if cause:
                break
        if not self._stopper.cause and (rest := self._stopper.feed(self._text.finish()) + self._stopper.finish()):
            yield self._shown(rest)
        yield Finished(self._meter.outcome(self._stopper.cause or cause or self._default_cause()))

    def _shown(self, text: str) -> TextChunk:
        """Return ``text`` with the probabilities of the tokens since the last chunk, where the request wants them."""
        tokens = tuple(self._probabilities[: self._unshown])
        del self._probabilities[: self._unshown]
        self._unshown = 0
        return TextChunk(text, tokens)

    def _default_cause(self) -> Cause:
        """Return the cause where nothing stopped the generation; text that a rule trimmed is complete."""
        return "rule" if self._stopper.trimmed else "length"

    def _choose_and_keep(self, logits: Tensor) -> int:
        """Choose a token and keep its probability. ``logits`` is ``[vocab]``."""
        token = self._choose(logits)
        self._probabilities.append(token_probability(logits, token, self._sampling.logprobs or 0, self._piece_bytes))
        return token

    def _constrained(self, tokenizer: Tokenizer, vocabulary: Vocabulary) -> Sampler:
        """Build the sampler that the request's parameters and the prompt's healing text describe."""
        sampling, prompt = self._sampling, self.prompt
        sampler = make_sampler(sampling.temperature, sampling.top_p, sampling.seed)
        if sampling.forced:
            sampler = with_forced_ids(sampler, sampling.forced)
        if prompt.heal:
            sampler = with_healing(sampler, Healing(vocabulary, tokenizer, prompt.heal))
        if sampling.min_tokens:
            sampler = with_min_tokens(sampler, prompt.stop_ids, sampling.min_tokens)
        return sampler
