"""Estimate of a training run's tokens, time and memory, before anything is loaded.

It is computed from the model's shape and a short measurement of this machine's matrix product.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from inference.models.checkpoint import WeightFormat
from inference.models.loader import FormatOrAuto, choose_device, choose_dtype, choose_format
from inference.models.shape import Shape
from inference.planning.planner import format_bytes
from inference.system import machine
from inference.training.recipe import CHARACTERS_PER_TOKEN, MAX_PASS_TOKENS, Recipe
from inference.training.tuning_task import TuningTask

EFFICIENCY, EFFICIENCY_BF16 = 0.65, 0.3
"""Share of the matrix product's speed that a training step reaches. Two AVX-512 cores measured 0.6 to 0.7. In bfloat16
the product is five times as fast, so the other operations weigh more.
"""
ADAM_BYTES = 16
"""Bytes per trained weight: float32 value, gradient and AdamW's two moments."""
MEMORY_SHARE = 0.85
"""Share of free memory that a run may plan to use: estimates are rough, and other programs need some."""
MATRIX_SIDE = 2048


@dataclass(frozen=True, slots=True)
class Estimate:
    """Compute and memory that a training run needs.

    Attributes:
        trained: number of adapter weights.
        flops_per_token: floating point operations of a training step per token.
        weights: bytes of the base model.
        adapter: bytes of adapter, gradients and optimiser.
        activations: bytes for the longest batch, if the activations of every layer are kept for the backward pass.
        recomputed: bytes for the longest batch, if only layer inputs are kept (gradient checkpointing).
    """

    trained: int
    flops_per_token: float
    weights: int
    adapter: int
    activations: int
    recomputed: int

    def memory(self, *, recompute: bool) -> int:
        """Return the total in bytes."""
        return self.weights + self.adapter + (self.recomputed if recompute else self.activations)

    def must_recompute(self, free: int) -> bool:
        """Return True if keeping all activations takes more than ``MEMORY_SHARE`` of the free bytes."""
        return self.memory(recompute=False) > MEMORY_SHARE * free


def estimate(shape: Shape, recipe: Recipe, weight_bytes: int, value_bytes: int, device: str) -> Estimate:
    """Estimate a run on a base of ``weight_bytes`` with activations of ``value_bytes`` each."""
    trained = adapter_weights(shape, recipe.rank)
    longest = recipe.longest + (recipe.cross_file_characters // CHARACTERS_PER_TOKEN if recipe.cross_file else 0)
    tokens = min(recipe.batch * longest, max(MAX_PASS_TOKENS[device], longest))
    logits = tokens * round(3 * 4 * shape.vocab * recipe.context)
    layer = tokens * activations_per_token(shape) * value_bytes
    return Estimate(
        trained=trained,
        flops_per_token=4 * (shape.linear + trained + shape.vocab * shape.hidden * recipe.context) + 2 * trained,
        weights=weight_bytes,
        adapter=trained * ADAM_BYTES,
        activations=shape.layers * layer + logits,
        recomputed=shape.layers * tokens * shape.hidden * value_bytes + layer + logits,
    )


def adapter_weights(shape: Shape, rank: int) -> int:
    """Return the number of weights of a LoRA adapter on every linear layer."""
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    sides = 2 * (shape.hidden + query) + 2 * (shape.hidden + key) + 3 * (shape.hidden + shape.intermediate)
    return shape.layers * rank * sides


def activations_per_token(shape: Shape) -> int:
    """Return the number of values per token and layer that the backward pass needs.

    These are inputs and outputs of both norms, q, k, v and the attention's output, and the MLP's gate, activation, up
    projection and product.
    """
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return 6 * shape.hidden + 3 * query + 4 * key + 4 * shape.intermediate


def matrix_flops(device: str, dtype: torch.dtype, seconds: float = 0.5) -> float:
    """Measure the best speed of a large matrix product within ``seconds``, in floating point operations per second."""
    a = torch.ones(MATRIX_SIDE, MATRIX_SIDE, device=device, dtype=dtype)
    best, until = float("inf"), time.monotonic() + seconds
    while time.monotonic() < until or best == float("inf"):
        started = time.monotonic()
        torch.mm(a, a)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.monotonic() - started)
    return 2 * MATRIX_SIDE**3 / best


@dataclass(frozen=True, slots=True)
class Forecast:
    """An estimate for this machine.

    Attributes:
        estimate: compute and memory of the run.
        format: weight format of the base.
        device: its device type.
        free: free bytes on that device.
        recompute: whether gradient checkpointing is used.
    """

    estimate: Estimate
    format: WeightFormat
    device: str
    free: int
    recompute: bool

    def memory(self) -> str:
        """Describe the memory that the run needs."""
        guess = self.estimate
        how = " with gradient checkpointing" if self.recompute else ""
        activations = guess.recomputed if self.recompute else guess.activations
        return (
            f"Memory: about {format_bytes(guess.memory(recompute=self.recompute))} of {format_bytes(self.free)} free: "
            f"{format_bytes(guess.weights)} weights ({self.format}), {format_bytes(guess.adapter)} adapter of "
            f"{guess.trained:,} weights with its optimiser, {format_bytes(activations)} activations{how}."
        )

    def tokens_per_second(self, flops: float) -> float:
        """Estimate the training speed from the matrix product's speed in floating point operations per second."""
        share = EFFICIENCY_BF16 if (self.device, self.format) == ("cpu", "bf16") else EFFICIENCY
        return share * flops / (self.estimate.flops_per_token * (1.3 if self.recompute else 1.0))


def forecast(task: TuningTask, weights: tuple[FormatOrAuto, str | None]) -> Forecast:
    """Estimate a task. ``weights``: wanted format and device of the base. Raises LoadError if the device is missing."""
    device = choose_device(weights[1])
    hardware = machine.look()
    bfloat16 = weights[0] == "auto" and device.type == "cpu" and hardware.memory.repacks  # has AVX512_BF16
    form = "bf16" if bfloat16 else choose_format(weights[0], device)
    shape = task.base.row.shape
    value_bytes = choose_dtype(form, device).itemsize
    free = (hardware.best if device.type == "cuda" else hardware.memory).free
    guess = estimate(shape, task.recipe, shape.weight_bytes(form), value_bytes, device.type)
    return Forecast(guess, form, device.type, free, guess.must_recompute(free))


def describe(task: TuningTask, planned: Forecast, minutes: float, steps: int | None) -> str:
    """Describe data, time and memory of a run. Takes half a second to measure this machine."""
    dtype = choose_dtype(planned.format, choose_device(planned.device))
    speed = planned.tokens_per_second(matrix_flops(planned.device, dtype))
    if steps:
        minutes = steps * task.recipe.tokens_per_step / speed / 60
    trained = round(minutes * 60 * speed)
    return (
        f"Data: about {_tokens(task):,} tokens of code.\n"
        f"Time: about {trained:,} tokens of examples in {minutes:,.0f} minutes ({speed:,.0f} tokens/s).\n"
        f"{planned.memory()}"
    )


def _tokens(task: TuningTask) -> int:
    """Estimate the tokens of all code from the ratio of tokens to characters in a sample."""
    sample = "".join(file.text for file in task.code.training[:50])[:200_000]
    size = sum(len(file.text) for file in task.code.training)
    return round(size * len(task.base.tokenizer.encode(sample)) / max(len(sample), 1))
