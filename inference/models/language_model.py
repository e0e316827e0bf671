"""What generation needs of a loaded model, whoever computes it. Knows no weights and no formats.

KV sessions: what the model has already read, kept between requests so that it is read once.

Knows nothing of requests, priorities or text: token ids and buffers only.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    # REMOVED
    pass  # REMOVED


class LanguageModel(Protocol):
    """A decoder-only Llama that extends one KV session at a time (batch size 1).

    Attributes:
        config: the checkpoint's configuration, by attributes.
        device: where the weights are.
        dtype: of the KV cache.
        heads, kv_heads, head_dim: of its attention.
    """

    config: Any
    device: torch.device
    dtype: torch.dtype
    heads: int
    kv_heads: int
    head_dim: int

    def forward(self, ids: list[int], kv: KVSession, *, every_position: bool = False) -> Tensor:
        """Append ``ids`` to ``kv`` and return logits, shape ``[1, vocab]`` (or ``[len(ids), vocab]``), in float32.

        The session's buffers must have room (``kv.reserve``); its length grows by ``len(ids)``.
        """
        ...

    def with_low_rank(self, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> LanguageModel:
        """A model of the same weights with ``B A x`` added to matrices; this one stays as it is.

        ``pairs``: A ``[rank, in]`` and B ``[out, rank]`` by the matrix's name, ``model.layers.0.mlp.up_proj``.
        """
        ...


GROWTH = 512
"""Buffers grow in steps of this many tokens, so that few copies are made and little is unused."""


@dataclass(eq=False)
class KVSession:
    """The cache of one sequence: ``keys[layer]`` and ``values[layer]`` are ``[1, kv_heads, capacity, head_dim]``.

    ``ids[:length]`` are the tokens whose keys and values the buffers hold, as ``model`` reads them: under an adapter
    they are others. Without a ``pool`` it may grow for ever. One that is not ``kept`` is dropped once it is given back.
    """

    model: LanguageModel
    pool: KVPool | None = None
    ids: list[int] = field(default_factory=list)
    length: int = 0
    used_at: int = 0
    window: str = ""
    kept: bool = True
    capacity: int = 0
    keys: list[torch.Tensor] = field(default_factory=list)
    values: list[torch.Tensor] = field(default_factory=list)

    def reserve(self, tokens: int, wanted: int = 0) -> None:
        """Make room for ``tokens`` in all, and for as many as ``wanted`` where there is room; what is cached stays.

        The pool may take other sessions' buffers for it.
        """
        if tokens <= self.capacity:
            return
        capacity = -(-max(tokens, wanted) // GROWTH) * GROWTH
        self._resize(self.pool.make_room(self, tokens, capacity) if self.pool else capacity)

    def shrink(self, capacity: int) -> None:
        """Keep buffers for ``capacity`` tokens only; what was read last is forgotten."""
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
            for layer, old in enumerate(buffers):  # one after the other: never are two whole caches held
                buffers[layer] = self._buffer(self.capacity)
                buffers[layer][:, :, : self.length] = old[:, :, : self.length]

    def rewind(self, ids: Sequence[int]) -> int:
        """Keep the common prefix with ``ids``, forget the rest; returns how many tokens are kept.

        The last of ``ids`` is never kept: its logits are wanted, and only a forward pass gives them.
        """
        kept = min(common_prefix(self.ids[: self.length], ids), len(ids) - 1)
        self.length = kept
        self.ids = list(ids[:kept])
        return kept

    def truncate(self, length: int) -> None:
        """Forget what was read after the first ``length`` tokens; the buffers stay."""
        self.length = min(self.length, length)
        del self.ids[self.length :]

    def clear(self) -> None:
        """Forget everything and give the buffers back."""
        self.ids, self.keys, self.values = [], [], []
        self.length = self.capacity = 0

    def _buffer(self, capacity: int) -> torch.Tensor:
        shape = (1, self.model.kv_heads, capacity, self.model.head_dim)
        return torch.empty(shape, dtype=self.model.dtype, device=self.model.device)


class KVPool:
    """Sequences whose buffers hold at most ``limit`` tokens together; room is made by whoever was used longest ago."""

    def __init__(self, model: LanguageModel, limit: int) -> None:
        self.limit = limit
        self._model = model
        self._idle: list[KVSession] = []
        self._busy: list[KVSession] = []
        self._clock = itertools.count(1)

    def acquire(self, ids: Sequence[int], model: LanguageModel | None = None, window: str = "") -> KVSession:
        """The idle session of ``model`` that shares the longest prefix with ``ids``, or a new one.

        ``model`` is the pool's own, or that under an adapter: what one has read is of no use to another. A session that
        shares next to nothing is left for whoever filled it, as long as there is room for both. The caller gives it
        back with ``release``. From now on it is ``window``'s.
        """
        model = model or self._model
        candidates = [s for s in self._idle if s.model is model]
        best = max(candidates, key=lambda s: (common_prefix(s.ids, ids), -s.used_at), default=None)
        if best is None or not _worth_reusing(best, ids):
            best = KVSession(model, self)
        else:
            self._idle.remove(best)
        best.window = window
        self._busy.append(best)
        return best

    def release(self, session: KVSession) -> None:
        """Give ``session`` back with what it now holds."""
        self._busy.remove(session)
        session.used_at = next(self._clock)
        session.ids = session.ids[: session.length]
        if session.capacity and session.kept:
            self._idle.append(session)

    def make_room(self, session: KVSession, needed: int, capacity: int) -> int:
        """Take buffers from others until ``session`` can have ``capacity`` tokens; returns how many it can have.

        Idle sessions lose theirs first: of the window that keeps most, the least recently used, so that no window with
        many documents drives out another's only one. Then those that are in use: one model works at one answer at a
        time, so theirs are under way but stand still. They lose no more than what ``needed`` takes, from their ends,
        and read it again: so answers that are read in turns do not each begin anew.
        Raises ValueError for more than the limit, which is what any one session may have.
        """
        if needed > self.limit:
            raise ValueError(f"{needed} tokens do not fit into a pool of {self.limit}")
        capacity = min(capacity, self.limit)
        for other in self._by_window():
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
        """Tokens by which the limit would be exceeded if ``session`` had ``capacity``."""
        return self.tokens - session.capacity + capacity - self.limit

    def _by_window(self) -> Iterator[KVSession]:
        """Idle sessions in the order in which they make room."""
        idle = list(self._idle)
        kept: Counter[str] = Counter()
        for session in idle:
            kept[session.window] += session.capacity
        while idle:
            first = min(idle, key=lambda s: (-kept[s.window], s.used_at))
            idle.remove(first)
            kept[first.window] -= first.capacity  # before it is cleared
            yield first

    def clear(self) -> None:
        """Give all idle buffers back."""
        self._idle.clear()

    def evict(self) -> None:
        """Give all buffers back, idle or in use: who is under way reads again what it loses."""
        self._idle.clear()
        for session in self._busy:
            session.clear()

    def forget(self, model: LanguageModel) -> None:
        """Keep nothing that ``model`` has read, so that nothing holds it in memory; what is under way goes on."""
        self._idle = [session for session in self._idle if session.model is not model]
        for session in self._busy:
            session.kept = session.kept and session.model is not model

    @property
    def tokens(self) -> int:
        """How many tokens have buffers at present, used or not."""
        return sum(s.capacity for s in (*self._idle, *self._busy))


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading items are equal."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _worth_reusing(session: KVSession, ids: Sequence[int]) -> bool:
    shared = common_prefix(session.ids, ids)
    return shared * 2 >= min(len(session.ids), len(ids))
