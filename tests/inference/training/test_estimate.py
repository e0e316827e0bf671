"""Estimates of adapter size and memory, and the choice of gradient checkpointing."""

from __future__ import annotations

import peft
import pytest
from fakes.byte_llama import tiny_config, tiny_reference

from inference.models.catalog import CATALOG
from inference.models.shape import Shape
from inference.training.estimate import adapter_weights, estimate
from inference.training.recipe import USER

GIB = 1 << 30


def test_adapter_weights_are_counted_exactly() -> None:
    shape = Shape.from_config(tiny_config().to_dict())
    model = peft.get_peft_model(tiny_reference(), peft.LoraConfig(r=4, target_modules="all-linear"))
    assert adapter_weights(shape, 4) == sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


@pytest.mark.parametrize(("free", "recompute"), [(80 * GIB, False), (24 * GIB, True)])
def test_little_memory_turns_on_gradient_checkpointing(free: int, recompute: bool) -> None:
    """For a 7B model in 4 bits on a GPU with 24 GB: activations don't fit, layer inputs do."""
    shape = CATALOG["codellama-7b"].shape
    guess = estimate(shape, USER, shape.weight_bytes("nf4"), 2, "cuda")
    assert guess.must_recompute(free) == recompute
    assert guess.memory(recompute=recompute) < free
