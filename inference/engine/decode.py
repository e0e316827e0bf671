"""Prefill in chunks, then decode step by step: a generator over ids that can be left between any two steps.

Knows no text, no requests and no threads. Whoever drives the generator decides about cancelling and deadlines: closing
it between two steps is all it takes, and what was read stays in the KV session.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from inference.engine.sampling import Healing, Sampler
from inference.engine.speculation import Speculation, verify
from inference.models.language_model import KVSession, LanguageModel
from inference.models.shape import CHUNK

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
    than ``largest``, for which the planner has reserved activations.
    """

    def __init__(self, smallest: int = 64, largest: int = CHUNK) -> None:
        self._smallest, self._largest = min(smallest, largest), largest
        self.tokens = self._smallest

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
    model: LanguageModel,
    session: KVSession,
    prompt: Sequence[int],
    sampler: Sampler,
    *,
    max_tokens: int,
    chunk: ChunkSize,
    speculation: Speculation | None = None,
) -> Iterator[Prefilled | int]:
    """Yield a ``Prefilled`` per chunk of the prompt, then up to ``max_tokens`` ids. The driver stops at end tokens.

    Room for the prompt and the answer is reserved first, or as much of it as other answers under way leave. Each
    ``next()`` is at most one step: one chunk, or one decoding step. Ids that a step had more of, thanks to
    ``speculation``, come without another one. Where the pool took some of the session's buffers between two steps, what
    they held is read again, and the answer goes on as if nothing had been taken.
    """
    reused = session.rewind(prompt)
    ids, end = list(prompt), len(prompt) + max_tokens
    while len(ids) < end:
        if len(ids) > len(prompt) and session.length == len(ids) - 1:
            draft = speculation.draft(ids, len(prompt), end - len(ids) - 1) if speculation else []
            session.reserve(len(ids) + len(draft), end)
            chosen = _decode(model, session, [ids[-1], *draft], sampler, speculation)
        else:
            logits = None
            while session.length < len(ids):
                after = min(session.length + chunk.tokens, len(ids))
                session.reserve(after, end)
                logits = _prefill(model, session, ids[session.length : after], chunk)
                yield Prefilled(session.length, len(ids), reused)
            assert logits is not None, "a prompt has at least one token"
            chosen = [sampler(logits[0])]
        ids += chosen
        for left, token in enumerate(chosen, 1 - len(chosen)):
            if speculation and left:
                speculation.accepted += 1
            yield token


def _prefill(model: LanguageModel, session: KVSession, ids: list[int], chunk: ChunkSize) -> Tensor:
    started = time.perf_counter()
    logits = model.forward(ids, session)
    session.ids += ids
    chunk.learn(len(ids), time.perf_counter() - started)
    return logits


def _decode(
    model: LanguageModel, session: KVSession, ids: list[int], sampler: Sampler, speculation: Speculation | None
) -> list[int]:
    """Read the last token and its draft; the tokens that follow. Of the draft, only what is right stays read."""
    started = time.perf_counter()
    before = session.length
    logits = model.forward(ids, session, every_position=len(ids) > 1)
    chosen = list(verify(logits, ids[1:], sampler))
    session.ids += ids
    session.truncate(before + len(chosen))
    if speculation:
        speculation.verified(len(ids) - 1, len(chosen) - 1, time.perf_counter() - started)
    return chosen


def healed(sampler: Sampler, healing: Healing) -> Sampler:
    """``sampler``, choosing only what ``healing`` allows: each token once, in the order of the answer."""

    def choose(logits: Tensor) -> int:
        allowed = healing.allowed()
        if not allowed:
            return sampler(logits)
        token = allowed[sampler(logits[allowed])]
        healing.accept(token)
        return token

    return choose
