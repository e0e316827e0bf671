"""Models without weights whose next tokens are known and that record their forward passes; known step costs."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from inference.engine.draft_length import StepCosts
from inference.models.language_model import KVSession


class KnownModel:
    """A model with known logits. ``reads`` are the ids of each forward pass."""

    def __init__(self, vocabulary: int = 259) -> None:
        self.config: Any = SimpleNamespace(
            num_hidden_layers=0, vocab_size=vocabulary, max_position_embeddings=4096, eos_token_id=256
        )
        self.kv_heads = self.head_dim = 1
        self.dtype, self.device = torch.float32, torch.device("cpu")
        self.reads: list[list[int]] = []

    def next(self, ids: Sequence[int]) -> Tensor:
        """Return the logits ``[vocab]`` after ``ids``."""
        raise NotImplementedError

    def forward(self, ids: list[int], kv: KVSession, *, every_position: bool = False) -> Tensor:
        assert len(kv.ids) == kv.length, "the session's ids are those it has read"
        assert kv.length + len(ids) <= kv.capacity, "there is room"
        self.reads.append(ids)
        known = [*kv.ids, *ids]
        ends = range(kv.length + 1, len(known) + 1) if every_position else [len(known)]
        kv.length = len(known)
        return torch.stack([self.next(known[:end]) for end in ends])

    @property
    def positions(self) -> int:
        """Total tokens of all forward passes."""
        return sum(map(len, self.reads))


class Reciter(KnownModel):
    """Continues one known text; after any other text the next token is 0."""

    def __init__(self, script: Sequence[int], vocabulary: int = 259) -> None:
        super().__init__(vocabulary)
        self.script = list(script)

    def next(self, ids: Sequence[int]) -> Tensor:
        on = list(ids) == self.script[: len(ids)] and len(ids) < len(self.script)
        return one_hot(self.script[len(ids)] if on else 0, self.config.vocab_size)


def one_hot(token: int, vocabulary: int) -> Tensor:
    """Return logits with all probability on one token."""
    logits = torch.full((vocabulary,), -100.0)
    logits[token] = 100.0
    return logits


class KnownCosts(StepCosts):
    """Fixed step costs: each additional token costs ``more`` of a step."""

    def __init__(self, more: float = 0.0) -> None:
        super().__init__()
        self.one, self._more = 0.001, more

    def learn(self, tokens: int, seconds: float) -> None:
        pass

    def ratio(self, tokens: int) -> float:
        return 1 + self._more * (tokens - 1)
