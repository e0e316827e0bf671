"""What a tuning will take on this machine: the estimate, and what there is. Knows no data but its size."""

from __future__ import annotations

from dataclasses import dataclass

from inference.learning.estimate import EFFICIENCY, EFFICIENCY_BF16, Estimate, estimate, matrix_flops
from inference.learning.task import Task
from inference.models.checkpoint import WeightFormat
from inference.models.loader import Format, choose_device, choose_dtype, choose_format
from inference.planning import machine
from inference.planning.planner import amount


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


def forecast(task: Task, weights: tuple[Format, str | None]) -> Forecast:
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


def told(task: Task, seen: Forecast, minutes: float, steps: int | None) -> str:
    """Data, time and memory, for a person; takes half a second to measure this machine."""
    speed = seen.tokens_per_second(matrix_flops(seen.device, choose_dtype(seen.format, choose_device(seen.device))))
    if steps:
        minutes = steps * task.recipe.tokens_per_step / speed / 60
    learnt = round(minutes * 60 * speed)
    return (
        f"About {_tokens(task):,} tokens of code; in {minutes:,.0f} minutes about {learnt:,} tokens of examples are "
        f"learnt from ({speed:,.0f} tokens/s).\n{seen.memory()}"
    )


def _tokens(task: Task) -> int:
    """Of all the code, by the ratio of tokens to characters in some of it."""
    sample = "".join(file.text for file in task.code.learnt[:50])[:200_000]
    size = sum(len(file.text) for file in task.code.learnt)
    return round(size * len(task.base.tokenizer.encode(sample)) / max(len(sample), 1))
