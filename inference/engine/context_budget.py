"""The context length and KV memory of one role, and how a request divides them between prompt and completion."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from inference.api.events import Sampling
from inference.models.language_model import KVPool
from inference.text.prompts import Prompt

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
