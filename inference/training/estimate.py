"""What a tuning will take, told before anything is loaded: tokens, time, memory.

Arithmetic over a shape and one short measurement of this machine's matrix product. Knows no data but its size.

What a tuning will take on this machine: the estimate, and what there is. Knows no data but its size.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from inference.models.checkpoint import WeightFormat
from inference.models.loader import Format, choose_device, choose_dtype, choose_format
from inference.models.shape import Shape
from inference.planning.planner import amount
from inference.system import machine
from inference.training.recipe import AT_ONCE, CHARACTERS, Recipe
from inference.training.tuning_task import TuningTask

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


@dataclass(frozen=True, slots=True)
class Forecast:
    """Attributes: format: of the base's weights; free: bytes on its device; recompute: layers are computed twice."""

    estimate: Estimate
    format: WeightFormat
    device: str
    free: int
    recompute: bool

    def memory(self) -> str:
        """For a person."""
        guess = self.estimate
        how = ", each layer computed again for its gradients to save memory" if self.recompute else ""
        activations = guess.recomputed if self.recompute else guess.activations
        return (
            f"Memory at most about {amount(guess.memory(recompute=self.recompute))} of {amount(self.free)} free: "
            f"{amount(guess.weights)} weights ({self.format}), {amount(guess.adapter)} adapter of {guess.trained:,} "
            f"weights with its optimiser, {amount(activations)} activations{how}."
        )

    def tokens_per_second(self, flops: float) -> float:
        """About, where a matrix product reaches ``flops`` a second."""
        share = EFFICIENCY_BF16 if (self.device, self.format) == ("cpu", "bf16") else EFFICIENCY
        return share * flops / (self.estimate.flops_per_token * (1.3 if self.recompute else 1.0))


def forecast(task: TuningTask, weights: tuple[Format, str | None]) -> Forecast:
    """For the wanted format and device of the base. Raises LoadError for a device that is not there."""
    device = choose_device(weights[1])
    found = machine.look()
    quick = weights[0] == "auto" and device.type == "cpu" and found.memory.repacks  # has AVX512_BF16
    form = "bf16" if quick else choose_format(weights[0], device)
    shape = task.base.row.shape
    value = choose_dtype(form, device).itemsize
    free = (found.best if device.type == "cuda" else found.memory).free
    guess = estimate(shape, task.recipe, shape.weight_bytes(form), value, device.type)
    return Forecast(guess, form, device.type, free, guess.must_recompute(free))


def told(task: TuningTask, seen: Forecast, minutes: float, steps: int | None) -> str:
    """Data, time and memory, for a person; takes half a second to measure this machine."""
    speed = seen.tokens_per_second(matrix_flops(seen.device, choose_dtype(seen.format, choose_device(seen.device))))
    if steps:
        minutes = steps * task.recipe.tokens_per_step / speed / 60
    learnt = round(minutes * 60 * speed)
    return (
        f"About {_tokens(task):,} tokens of code; in {minutes:,.0f} minutes about {learnt:,} tokens of examples are "
        f"learnt from ({speed:,.0f} tokens/s).\n{seen.memory()}"
    )


def _tokens(task: TuningTask) -> int:
    """Of all the code, by the ratio of tokens to characters in some of it."""
    sample = "".join(file.text for file in task.code.learnt[:50])[:200_000]
    size = sum(len(file.text) for file in task.code.learnt)
    return round(size * len(task.base.tokenizer.encode(sample)) / max(len(sample), 1))
