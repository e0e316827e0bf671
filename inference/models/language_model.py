"""The interface of a loaded model, and its KV cache: sessions kept between requests, so that text is read once."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

GROWTH = 512
"""Tokens. Buffers grow in multiples of it, so that few copies are made and little memory is unused."""


class LanguageModel(Protocol):
    """A decoder-only Llama that extends one KV session at a time (batch size 1).

    Attributes:
        config: the checkpoint's ``config.json``, as attributes.
        device: the device of the weights and of the KV cache.
        dtype: the type of the KV cache.
        heads: query heads.
        kv_heads: key and value heads; fewer than ``heads`` under grouped-query attention (arXiv 2305.13245).
        head_dim: width of one head.
    """

    config: Any
    device: torch.device
    dtype: torch.dtype
    heads: int
    kv_heads: int
    head_dim: int

    def forward(self, ids: list[int], kv: KVSession, *, every_position: bool = False) -> Tensor:
        """Append ``ids`` to ``kv``, and return float32 logits of the last position ``[1, vocab]``.

        With ``every_position`` the logits are ``[len(ids), vocab]``. The session's buffers must have room
        (``kv.reserve``); its length grows by ``len(ids)``.
        """
        ...

    def with_low_rank(self, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> LanguageModel:
        """Return a model that shares these weights and adds ``B A x`` to some matrices (LoRA, arXiv 2106.09685).

        ``pairs`` maps a matrix's name, such as ``model.layers.0.mlp.up_proj``, to A ``[rank, in]`` and B
        ``[out, rank]``; B includes the scale.
        """
        ...


@dataclass(eq=False)
class KVSession:
    """The KV cache of one sequence.

    Attributes:
        model: the model that computed the keys and values; an adapter's differ from its base's.
        pool: limits its size; without one it may grow without bound.
        ids: the tokens read.
        length: tokens whose keys and values the buffers hold.
        used_at: the pool's logical time of the last release.
        client: the editor session that used it last.
        kept: False drops the session at its release.
        capacity: tokens that the buffers have room for.
        keys: one tensor per layer, ``[1, kv_heads, capacity, head_dim]`` in the model's dtype.
        values: the same for values.
    """

    model: LanguageModel
    pool: KVPool | None = None
    ids: list[int] = field(default_factory=list)
    length: int = 0
    used_at: int = 0
    client: str = ""
    kept: bool = True
    capacity: int = 0
    keys: list[torch.Tensor] = field(default_factory=list)
    values: list[torch.Tensor] = field(default_factory=list)

    def reserve(self, tokens: int, wanted: int = 0) -> None:
        """Grow the buffers to ``tokens`` in all, and up to ``wanted`` if there is room. Cached values are kept.

        The pool may shrink other sessions.
        """
        if tokens <= self.capacity:
            return
        capacity = -(-max(tokens, wanted) // GROWTH) * GROWTH
        self._resize(self.pool.make_room(self, tokens, capacity) if self.pool else capacity)

    def shrink(self, capacity: int) -> None:
        """Shrink the buffers to ``capacity`` tokens; tokens beyond it are discarded."""
        if capacity < GROWTH:
            self.clear()
        elif capacity < self.capacity:
            self.truncate(capacity)
            self._resize(capacity)

    def _resize(self, capacity: int) -> None:
        self.capacity = capacity
        layers = self.model.config.num_hidden_layers
        for buffers in (self.keys, self.values):
            buffers.extend([self._buffer(0)] * (layers - len(buffers)))
            for layer, old in enumerate(buffers):  # layer by layer: two whole caches never exist at once
                buffers[layer] = self._buffer(self.capacity)
                buffers[layer][:, :, : self.length] = old[:, :, : self.length]

    def rewind(self, ids: Sequence[int]) -> int:
        """Keep the common prefix with ``ids`` and discard the rest. Return the number of tokens kept.

        The last of ``ids`` is never kept: only a forward pass gives its logits.
        """
        kept = min(common_prefix(self.ids[: self.length], ids), len(ids) - 1)
        self.length = kept
        self.ids = list(ids[:kept])
        return kept

    def truncate(self, length: int) -> None:
        """Discard all but the first ``length`` tokens; the buffers stay."""
        self.length = min(self.length, length)
        del self.ids[self.length :]

    def clear(self) -> None:
        """Discard all tokens and free the buffers."""
        self.ids, self.keys, self.values = [], [], []
        self.length = self.capacity = 0

    def _buffer(self, capacity: int) -> torch.Tensor:
        shape = (1, self.model.kv_heads, capacity, self.model.head_dim)
        return torch.empty(shape, dtype=self.model.dtype, device=self.model.device)


class KVPool:
    """KV sessions whose buffers hold at most ``limit`` tokens together.

    Idle sessions are kept for reuse and evicted by least recent use, from the client that holds most.
    """

    def __init__(self, model: LanguageModel, limit: int) -> None:
        self.limit = limit
        self._model = model
        self._idle: list[KVSession] = []
        self._busy: list[KVSession] = []
        self._clock = itertools.count(1)

    def acquire(self, ids: Sequence[int], model: LanguageModel | None = None, client: str = "") -> KVSession:
        """Return the idle session of ``model`` with the longest common prefix with ``ids``, or a new one.

        ``model`` defaults to the pool's; under an adapter the keys and values differ. A session with hardly any common
        prefix is left to the document that filled it, while there is room for both. The session belongs to ``client``
        from now on. The caller must ``release`` it.
        """
        model = model or self._model
        candidates = [s for s in self._idle if s.model is model]
        best = max(candidates, key=lambda s: (common_prefix(s.ids, ids), -s.used_at), default=None)
        if best is None or not _worth_reusing(best, ids):
            best = KVSession(model, self)
        else:
            self._idle.remove(best)
        best.client = client
        self._busy.append(best)
        return best

    def release(self, session: KVSession) -> None:
        """Return ``session`` to the pool with the tokens that it now holds."""
        self._busy.remove(session)
        session.used_at = next(self._clock)
        session.ids = session.ids[: session.length]
        if session.capacity and session.kept:
            self._idle.append(session)

    def make_room(self, session: KVSession, needed: int, capacity: int) -> int:
        """Shrink other sessions until ``session`` can have ``capacity`` tokens. Return how many it can have.

        Idle sessions go first: the least recently used of the client that holds most, so that a client with many
        documents does not evict another's only one. Sessions in use come next; they are paused, since the model runs
        one sequence at a time. They lose only what ``needed`` requires, from their ends, and read it again. So
        sequences that take turns do not restart from their beginnings.

        Raises ValueError if ``needed`` exceeds the limit.
        """
        if needed > self.limit:
            raise ValueError(f"{needed} tokens do not fit into a pool of {self.limit}")
        capacity = min(capacity, self.limit)
        for other in self._eviction_order():
            if self._excess(session, capacity) <= 0:
                break
            other.clear()
        self._idle = [s for s in self._idle if s.capacity]
        least = min(-(-needed // GROWTH) * GROWTH, capacity)
        capacity = max(least, capacity - max(self._excess(session, capacity), 0))
        for other in (s for s in self._busy if s is not session):
            other.shrink(other.capacity - max(self._excess(session, capacity), 0))
        return capacity

    def _excess(self, session: KVSession, capacity: int) -> int:
        """Return by how many tokens the limit would be exceeded if ``session`` had ``capacity``."""
        return self.tokens - session.capacity + capacity - self.limit

    def _eviction_order(self) -> Iterator[KVSession]:
        """Yield idle sessions in the order of their eviction."""
        idle = list(self._idle)
        held: Counter[str] = Counter()
        for session in idle:
            held[session.client] += session.capacity
        while idle:
            first = min(idle, key=lambda s: (-held[s.client], s.used_at))
            idle.remove(first)
            held[first.client] -= first.capacity  # before the caller clears it
            yield first

    def clear(self) -> None:
        """Free the buffers of idle sessions."""
        self._idle.clear()

    def evict(self) -> None:
        """Free all buffers, idle or in use. Sequences that are running read their tokens again."""
        self._idle.clear()
        for session in self._busy:
            session.clear()

    def forget(self, model: LanguageModel) -> None:
        """Drop the sessions of ``model``, so that nothing keeps it in memory. Running sequences finish first."""
        self._idle = [session for session in self._idle if session.model is not model]
        for session in self._busy:
            session.kept = session.kept and session.model is not model

    @property
    def tokens(self) -> int:
        """Tokens that all buffers together have room for."""
        return sum(s.capacity for s in (*self._idle, *self._busy))


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the number of equal leading items."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _worth_reusing(session: KVSession, ids: Sequence[int]) -> bool:
    shared = common_prefix(session.ids, ids)
    return shared * 2 >= min(len(session.ids), len(ids))
