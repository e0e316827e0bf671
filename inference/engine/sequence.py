"""What one generation may use and what it has used: tokens of context, room for keys and values, time.

Knows no model and no text.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from inference.api.events import Cause, Outcome, Sampling
from inference.engine.decode import Prefilled
from inference.engine.out_of_memory import LEAST_CONTEXT
from inference.engine.speculation import Speculation
from inference.models.language_model import KVPool
from inference.text.prompts import Prompt

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ContextBudget:
    """How much of the context one request may use: ``context`` tokens for prompt and answer together."""

    context: int

    def prompt_tokens(self, answer: int) -> int:
        """What is left for the prompt; an answer never takes more than half."""
        return self.context - self.answer_tokens(answer)

    def answer_tokens(self, wanted: int) -> int:
        return min(wanted, self.context // 2)

    def room(self, prompt: Prompt, sampling: Sampling) -> int:
        """Tokens that may be generated after ``prompt``."""
        healed = len(prompt.heal.encode())  # at most a token a byte is spent on what is there already
        return min(self.answer_tokens(sampling.max_tokens) + healed, self.context - len(prompt.ids))


@dataclass(slots=True)
class RoleMemory:
    """One role's share of the memory for keys and values."""

    budget: ContextBudget
    pool: KVPool

    def shorten(self) -> bool:
        """Halve a context that the memory has turned out not to bear; tells whether that can be done."""
        tokens = self.budget.context // 2
        if tokens < LEAST_CONTEXT:
            return False
        self.budget, self.pool.limit = ContextBudget(tokens), tokens
        self.pool.evict()  # or a longer session would be kept
        log.warning("memory ran out: the context is %d tokens from now on", tokens)
        return True


@dataclass
class Meter:
    """What one generation costs, while it runs."""

    prompt_tokens: int
    speculation: Speculation | None = None
    dropped_messages: int = 0
    cut_tokens: int = 0
    reused_tokens: int = 0
    completion_tokens: int = 0
    started: float = field(default_factory=time.perf_counter)
    prefilled_at: float = 0.0

    def prefilled(self, step: Prefilled) -> None:
        """Another chunk of the prompt was read."""
        self.prefilled_at = time.perf_counter()
        self.reused_tokens = step.reused

    def outcome(self, cause: Cause) -> Outcome:
        """The bill."""
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
