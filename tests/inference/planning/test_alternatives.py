"""The smaller choice suggested when models don't fit, and the exact messages."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.models.catalog import CATALOG, Model, Role, find
from inference.models.shape import FORMATS, Format
from inference.planning.alternatives import catalog_choice, plan_or_suggest
from inference.planning.planner import Choice, DoesNotFitError
from inference.system.machine import Device

GIB = 1 << 30
BOTH: tuple[Role, ...] = ("completion", "chat")


def gpu(gib: float) -> Device:
    return Device("cuda", "Testing GPU", 80 * GIB, int(gib * GIB))


@pytest.mark.parametrize(
    ("choices", "free", "message"),
    [
        (
            [catalog_choice(find("codellama-7b"), ("completion",), "bf16")],
            8,
            "codellama-7b (bf16) needs 14.24 GiB, but Testing GPU has 8.00 GiB free. Choose codellama-7b (nf4), with "
            "room for 6,656 tokens of completion context.",
        ),
        (
            [catalog_choice(find("codellama-34b"), ("completion",))],
            19.5,
            "codellama-34b (nf4) needs 19.83 GiB, but Testing GPU has 19.50 GiB free. Choose codellama-34b "
            "(nf4-double), with room for 7,680 tokens of completion context.",
        ),
        (
            [catalog_choice(find("codellama-34b-python"), ("completion",))],
            12,
            "codellama-34b-python (nf4) needs 19.83 GiB, but Testing GPU has 12.00 GiB free. Choose "
            "codellama-13b-python (nf4), with room for 5,120 tokens of completion context.",
        ),
        (
            [
                catalog_choice(find("codellama-13b"), ("completion",)),
                catalog_choice(find("codellama-13b-instruct"), ("chat",)),
            ],
            12,
            "codellama-13b (nf4) for completion and codellama-13b-instruct (nf4) for chat need 18.47 GiB, but Testing "
            "GPU has 12.00 GiB free. Choose codellama-13b-instruct (nf4) for completion and chat, with room for "
            "2,560 tokens of completion context and 2,560 tokens of chat context.",
        ),
        (
            [catalog_choice(find("codellama-7b-instruct"), BOTH)],
            2,
            "codellama-7b-instruct (nf4) for completion and chat needs 6.65 GiB, but Testing GPU has 2.00 GiB free. "
            "Choose starter (nf4) for completion and chat, with room for 8,192 tokens of completion context and "
            "8,192 tokens of chat context.",
        ),
        (
            [catalog_choice(find("codellama-7b-instruct"), BOTH)],
            0.5,
            "codellama-7b-instruct (nf4) for completion and chat needs 6.65 GiB, but Testing GPU has 512 MiB free. "
            "Not even the starter fits. Free some memory.",
        ),
    ],
)
def test_refusal_names_the_next_smaller_choice(choices: list[Choice], free: float, message: str):
    """In order: a smaller format, one model for both roles, the next smaller variant, the starter."""
    with pytest.raises(DoesNotFitError) as error:
        plan_or_suggest(choices, gpu(free))
    assert str(error.value) == message


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(CATALOG.values())), st.sampled_from(FORMATS), st.integers(0, 40 * GIB))
def test_every_refusal_ends_with_an_advice(model: Model, form: Format, free: int):
    """The search for a smaller choice ends for every choice and device."""
    try:
        plan_or_suggest([catalog_choice(model, BOTH, form)], Device("cpu", "CPU memory", 40 * GIB, free))
    except DoesNotFitError as refusal:
        assert str(refusal).endswith(".")
        assert " free. Choose " in str(refusal) or " free. Not even the starter fits." in str(refusal)


def test_refusal_of_a_custom_model_names_one_of_the_catalogue():
    """The advice for a fine-tune is a model of the family for the same role."""
    other = Choice("my-finetune", find("codellama-34b").shape, ("completion",), "nf4", 16_384)
    with pytest.raises(DoesNotFitError, match=r"^my-finetune \(nf4\) needs .*\. Choose codellama-13b \(nf4\), with"):
        plan_or_suggest([other], gpu(12))
