"""Refusals: which smaller choice they name, and their exact words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.models.catalog import CATALOG, Model, Role, find
from inference.models.shape import FORMATS, Format
from inference.planning.choice import choose, plan_or_suggest
from inference.planning.planner import Choice, DoesNotFitError
from inference.system.machine import Device

GIB = 1 << 30
BOTH: tuple[Role, ...] = ("completion", "chat")


def gpu(gib: float) -> Device:
    return Device("cuda", "Testing GPU", 80 * GIB, int(gib * GIB))


@pytest.mark.parametrize(
    ("choices", "free", "sentence"),
    [
        (
            [choose(find("codellama-7b"), ("completion",), "bf16")],
            8,
            "codellama-7b (bf16) needs 14.24 GiB, but Testing GPU has 8.00 GiB free: choose codellama-7b (nf4), with "
            "room for 6,656 tokens of completion context.",
        ),
        (
            [choose(find("codellama-34b"), ("completion",))],
            19.5,
            "codellama-34b (nf4) needs 19.83 GiB, but Testing GPU has 19.50 GiB free: choose codellama-34b "
            "(nf4-double), with room for 7,680 tokens of completion context.",
        ),
        (
            [choose(find("codellama-34b-python"), ("completion",))],
            12,
            "codellama-34b-python (nf4) needs 19.83 GiB, but Testing GPU has 12.00 GiB free: choose "
            "codellama-13b-python (nf4), with room for 5,120 tokens of completion context.",
        ),
        (
            [choose(find("codellama-13b"), ("completion",)), choose(find("codellama-13b-instruct"), ("chat",))],
            12,
            "codellama-13b (nf4) for completion and codellama-13b-instruct (nf4) for chat need 18.47 GiB, but Testing "
            "GPU has 12.00 GiB free: choose codellama-13b-instruct (nf4) for completion and chat, with room for "
            "2,560 tokens of completion context and 2,560 tokens of chat context.",
        ),
        (
            [choose(find("codellama-7b-instruct"), BOTH)],
            2,
            "codellama-7b-instruct (nf4) for completion and chat needs 6.65 GiB, but Testing GPU has 2.00 GiB free: "
            "choose starter (nf4) for completion and chat, with room for 8,192 tokens of completion context and "
            "8,192 tokens of chat context.",
        ),
        (
            [choose(find("codellama-7b-instruct"), BOTH)],
            0.5,
            "codellama-7b-instruct (nf4) for completion and chat needs 6.65 GiB, but Testing GPU has 512 MiB free: "
            "not even the starter fits, so free some of it.",
        ),
    ],
)
def test_a_refusal_names_the_next_smaller_choice(choices: list[Choice], free: float, sentence: str):
    """In order: a smaller format, one model for both roles, the next smaller sibling, the starter."""
    with pytest.raises(DoesNotFitError) as error:
        plan_or_suggest(choices, gpu(free))
    assert str(error.value) == sentence


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(CATALOG.values())), st.sampled_from(FORMATS), st.integers(0, 40 * GIB))
def test_every_refusal_is_one_sentence_that_ends(model: Model, form: Format, free: int):
    """The search for something smaller ends for every choice and every device."""
    try:
        plan_or_suggest([choose(model, BOTH, form)], Device("cpu", "CPU memory", 40 * GIB, free))
    except DoesNotFitError as refusal:
        assert str(refusal).endswith(".")
        assert ": choose " in str(refusal) or ": not even the starter fits" in str(refusal)


def test_a_checkpoint_that_is_not_in_the_catalogue_is_refused_too():
    """Fine-tunes under their own names step down to the family's models of their role."""
    other = Choice("my-finetune", find("codellama-34b").shape, ("completion",), "nf4", 16_384)
    with pytest.raises(DoesNotFitError, match=r"^my-finetune \(nf4\) needs .*: choose codellama-13b \(nf4\), with"):
        plan_or_suggest([other], gpu(12))
