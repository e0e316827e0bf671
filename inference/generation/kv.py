"""KV sessions: what the model has already read, kept between requests so that it is read once.

Knows nothing of requests, priorities or text: token ids and buffers only.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from inference.models.llama import Llama

GROWTH = 512
"""Buffers grow in steps of this many tokens, so that few copies are made and little is unused."""


@dataclass(eq=False)
class KVSession:
    """The cache of one sequence: ``keys[layer]`` and ``values[layer]`` are ``[1, kv_heads, capacity, head_dim]``.

    ``ids[:length]`` are the tokens whose keys and values the buffers hold.
    """

    model: Llama
    ids: list[int] = field(default_factory=list)
    length: int = 0
    used_at: int = 0
    capacity: int = 0
    keys: list[torch.Tensor] = field(default_factory=list)
    values: list[torch.Tensor] = field(default_factory=list)

    def reserve(self, tokens: int) -> None:
        """Make room for ``tokens`` in all; what is cached stays."""
        if tokens <= self.capacity:
            return
        self.capacity = -(-tokens // GROWTH) * GROWTH
        layers = self.model.config.num_hidden_layers
        self.keys = [self._grown(old) for old in self.keys or [None] * layers]
        self.values = [self._grown(old) for old in self.values or [None] * layers]

    def rewind(self, ids: Sequence[int]) -> int:
        """Keep the common prefix with ``ids``, forget the rest; returns how many tokens are kept.

        The last of ``ids`` is never kept: its logits are wanted, and only a forward pass gives them.
        """
        kept = min(common_prefix(self.ids[: self.length], ids), len(ids) - 1)
        self.length = kept
        self.ids = list(ids[:kept])
        return kept

    def _grown(self, old: torch.Tensor | None) -> torch.Tensor:
        shape = (1, self.model.kv_heads, self.capacity, self.model.head_dim)
        new = torch.empty(shape, dtype=self.model.dtype, device=self.model.device)
        if old is not None:
            new[:, :, : self.length] = old[:, :, : self.length]
        return new


class KVPool:
    """At most ``sessions`` sequences; the least recently used one makes room for a new one."""

    def __init__(self, model: Llama, sessions: int) -> None:
        self._model = model
        self._limit = sessions
        self._idle: list[KVSession] = []
        self._busy: list[KVSession] = []
        self._clock = itertools.count(1)

    def acquire(self, ids: Sequence[int]) -> KVSession:
        """The idle session that shares the longest prefix with ``ids``, or a new one.

        A session that shares next to nothing is left for whoever filled it as long as there is room for a new one.
        The caller gives it back with ``release``.
        """
        best = max(self._idle, key=lambda s: (common_prefix(s.ids, ids), -s.used_at), default=None)
        if best is not None and not _worth_reusing(best, ids):
            room = len(self._idle) + len(self._busy) < self._limit
            best = None if room else min(self._idle, key=lambda s: s.used_at)
        if best is None:
            best = KVSession(self._model)
        else:
            self._idle.remove(best)
        self._busy.append(best)
        return best

    def release(self, session: KVSession) -> None:
        """Give ``session`` back with what it now holds; beyond the limit the oldest idle one is dropped."""
        self._busy.remove(session)
        session.used_at = next(self._clock)
        session.ids = session.ids[: session.length]
        self._idle.append(session)
        while len(self._idle) + len(self._busy) > self._limit and self._idle:
            self._idle.remove(min(self._idle, key=lambda s: s.used_at))

    def forget(self) -> None:
        """Drop what idle sessions hold."""
        self._idle.clear()

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
