"""What generation needs of a loaded model, whoever computes it. Knows no weights and no formats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from inference.generation.kv import KVSession


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
