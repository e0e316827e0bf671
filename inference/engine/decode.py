"""Chunked prefill, then decoding step by step: a generator over token ids that may be closed between any two steps.

Closing it cancels the generation; the tokens read so far stay in the KV session.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from inference.engine.sampling import Sampler
from inference.engine.speculation import Speculation, verify
from inference.models.language_model import KVSession, LanguageModel
from inference.models.shape import CHUNK

STEP_SECONDS = 0.1
"""Target duration of one step: the longest wait of a cancellation or of a more urgent request."""


@dataclass(frozen=True, slots=True)
class Prefilled:
    """One prefill chunk is done.

    Attributes:
        done: prompt tokens in the KV cache now.
        total: prompt tokens in all.
        reused: prompt tokens that were cached by an earlier request.
    """

    done: int
    total: int
    reused: int


class ChunkSize:
    """The number of prompt tokens that one step can read on this machine, learnt from earlier chunks.

    At least ``smallest``: below that, reading the weights costs more than computing with them. At most ``largest``,
    for which the planner has reserved activations.
    """

    def __init__(self, smallest: int = 64, largest: int = CHUNK) -> None:
        self._smallest, self._largest = min(smallest, largest), largest
        self.tokens = self._smallest

    def learn(self, tokens: int, seconds: float) -> None:
        """Adapt to a chunk of ``tokens`` that took ``seconds``. Chunks cut short by the prompt's end are ignored."""
        if tokens < self.tokens:
            return
        affordable = tokens * STEP_SECONDS / max(seconds, 1e-6)
        if affordable >= 2 * self.tokens:
            self.tokens = min(self.tokens * 2, self._largest)
        elif affordable < self.tokens:
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
    """Yield a ``Prefilled`` per chunk of the prompt, then up to ``max_tokens`` ids. The caller stops at end tokens.

    Each ``next()`` runs at most one step: one prefill chunk or one decoding step. Further tokens of a step, accepted
    through ``speculation``, are yielded without another forward pass. Buffers are reserved for the prompt and the
    completion, or for as much as other sequences leave. If the pool shrinks them between two steps, the lost tokens are
    read again and decoding resumes.
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
    """Read one chunk; returns the last token's logits, float32 ``[1, vocab]``."""
    started = time.perf_counter()
    logits = model.forward(ids, session)
    session.ids += ids
    chunk.learn(len(ids), time.perf_counter() - started)
    return logits


def _decode(
    model: LanguageModel, session: KVSession, ids: list[int], sampler: Sampler, speculation: Speculation | None
) -> list[int]:
    """Read the last token and its draft; returns the tokens that follow. Rejected draft tokens leave the session."""
    started = time.perf_counter()
    before = session.length
    logits = model.forward(ids, session, every_position=len(ids) > 1)
    chosen = list(verify(logits, ids[1:], sampler))
    session.ids += ids
    session.truncate(before + len(chosen))
    if speculation:
        speculation.verified(len(ids) - 1, len(chosen) - 1, time.perf_counter() - started)
    return chosen
