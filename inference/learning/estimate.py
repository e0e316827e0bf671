"""What a tuning will take, told before anything is loaded: tokens, time, memory.

Arithmetic over a shape and one short measurement of this machine's matrix product. Knows no data but its size.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from inference.learning.recipe import AT_ONCE, CHARACTERS, Recipe
from inference.models.shape import Shape

EFFICIENCY, EFFICIENCY_BF16 = 0.65, 0.3
"""Of the matrix product alone that a training step reaches (measured on two AVX-512 cores: 0.6 to 0.7; in bfloat16,
where the processor multiplies it five times as fast, what is not a product weighs more).
"""
ADAM_BYTES = 16
"""A trained weight in float32, its gradient and AdamW's two averages."""
SPARE = 0.85
"""Share of free memory that a run may plan to take: other programs, and this one's rough edges, want some."""
SIDE = 2048


@dataclass(frozen=True, slots=True)
class Estimate:
    """Attributes:

    trained: weights of the adapter.
    flops_per_token: of a training step, floating point operations.
    weights, adapter: bytes.
    activations: bytes at the longest batch, where each layer's are kept for the backward pass.
    recomputed: the same where only each layer's input is kept, and a layer is computed again when its turn comes.
    """

    trained: int
    flops_per_token: float
    weights: int
    adapter: int
    activations: int
    recomputed: int

    def memory(self, *, recompute: bool) -> int:
        """Bytes in all."""
        return self.weights + self.adapter + (self.recomputed if recompute else self.activations)

    def must_recompute(self, free: int) -> bool:
        """Whether keeping all activations would take more than ``SPARE`` leaves of the free bytes."""
        return self.memory(recompute=False) > SPARE * free


def estimate(shape: Shape, recipe: Recipe, weight_bytes: int, value: int, device: str) -> Estimate:
    """For a base whose weights take ``weight_bytes`` on ``device``; ``value``: bytes of an activation."""
    trained = adapter_weights(shape, recipe.rank)
    longest = recipe.longest + (recipe.told // CHARACTERS if recipe.elsewhere else 0)
    tokens = min(recipe.batch * longest, max(AT_ONCE[device], longest))
    logits = tokens * round(3 * 4 * shape.vocab * recipe.context)
    layer = tokens * kept(shape) * value
    return Estimate(
        trained=trained,
        flops_per_token=4 * (shape.linear + trained + shape.vocab * shape.hidden * recipe.context) + 2 * trained,
        weights=weight_bytes,
        adapter=trained * ADAM_BYTES,
        activations=shape.layers * layer + logits,
        recomputed=shape.layers * tokens * shape.hidden * value + layer + logits,
    )


def adapter_weights(shape: Shape, rank: int) -> int:
    """Weights of a LoRA adapter on every linear layer."""
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    sides = 2 * (shape.hidden + query) + 2 * (shape.hidden + key) + 3 * (shape.hidden + shape.intermediate)
    return shape.layers * rank * sides


def kept(shape: Shape) -> int:
    """Values a token and layer that the backward pass needs.

    Both norms' inputs and outputs; q, k, v and what attention gives; the MLP's gate, its activation, up and product.
    """
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return 6 * shape.hidden + 3 * query + 4 * key + 4 * shape.intermediate


def matrix_flops(device: str, dtype: torch.dtype, seconds: float = 0.5) -> float:
    """Floating point operations a second of a large matrix product here, at its best within ``seconds``."""
    a = torch.ones(SIDE, SIDE, device=device, dtype=dtype)
    best, until = float("inf"), time.monotonic() + seconds
    while time.monotonic() < until or best == float("inf"):
        started = time.monotonic()
        torch.mm(a, a)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.monotonic() - started)
    return 2 * SIDE**3 / best
