"""Prefill in chunks, then one token a step: a generator over ids that can be left between any two steps.

Knows no text, no requests and no threads. Whoever drives the generator decides about cancelling and deadlines: closing
it between two steps is all it takes, and what was read stays in the KV session.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from inference.generation.healing import Healing
from inference.generation.kv import KVSession
from inference.generation.sampling import Sampler
from inference.models.llama import Llama
from inference.models.planner import CHUNK

STEP_SECONDS = 0.1
"""No step is meant to take longer: it is how long a cancel, or a request in a hurry, waits."""


@dataclass(frozen=True, slots=True)
class Prefilled:
    """A chunk of the prompt was read: ``done`` of ``total`` tokens, of which ``reused`` were in the session already."""

    done: int
    total: int
    reused: int


class ChunkSize:
    """How many prompt tokens fit into one step on this machine, learnt from the chunks that ran.

    Never fewer than ``smallest``: in smaller chunks reading the weights costs more than computing with them. Never more
    than ``largest``, for whose activations memory was planned.
    """

    def __init__(self, smallest: int = 64, largest: int = CHUNK) -> None:
        self._smallest, self._largest = smallest, largest
        self.tokens = smallest

    def learn(self, tokens: int, seconds: float) -> None:
        """A chunk of ``tokens`` took ``seconds``. Chunks cut short by the prompt's end say little and are ignored."""
        if tokens < self.tokens:
            return
        fitting = tokens * STEP_SECONDS / max(seconds, 1e-6)
        if fitting >= 2 * self.tokens:
            self.tokens = min(self.tokens * 2, self._largest)
        elif fitting < self.tokens:
            self.tokens = max(self.tokens // 2, self._smallest)


def generate(
    model: Llama,
    session: KVSession,
    prompt: Sequence[int],
    sampler: Sampler,
    *,
    max_tokens: int,
    chunk: ChunkSize,
    healing: Healing | None = None,
) -> Iterator[Prefilled | int]:
    """Yield a ``Prefilled`` per chunk of the prompt, then up to ``max_tokens`` ids. The driver stops at end tokens.

    Room for the prompt and the answer is reserved first. Each ``next()`` is one step: one chunk or one token.
    """
    reused = session.rewind(prompt)
    session.reserve(len(prompt) + max_tokens)
    logits = None
    while session.length < len(prompt):
        part = list(prompt[session.length : session.length + chunk.tokens])
        started = time.perf_counter()
        logits = _extend(model, session, part)
        chunk.learn(len(part), time.perf_counter() - started)
        yield Prefilled(session.length, len(prompt), reused)
    for produced in range(1, max_tokens + 1):
        assert logits is not None, "a prompt has at least one token"
        token = _choose(logits[0], sampler, healing)
        yield token
        if produced < max_tokens:
            logits = _extend(model, session, [token])


def _extend(model: Llama, session: KVSession, ids: list[int]) -> Tensor:
    logits = model.forward(ids, session)
    session.ids += ids
    return logits


def _choose(logits: Tensor, sampler: Sampler, healing: Healing | None) -> int:
    allowed = healing.allowed() if healing else None
    if not allowed:
        return sampler(logits)
    token = allowed[sampler(logits[allowed])]
    assert healing is not None
    healing.accept(token)
    return token
