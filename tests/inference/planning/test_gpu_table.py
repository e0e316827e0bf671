"""The table of models by GPU: preferences, and the copy in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inference.models.catalog import find
from inference.planning.alternatives import catalog_choice
from inference.planning.gpu_table import best, main, table
from inference.planning.planner import Choice
from inference.system.machine import Device

GIB = 1 << 30
ROOT = Path(__file__).parents[3]


def gpu(gib: float) -> Device:
    return Device("cuda", "Testing GPU", int(gib * GIB), int(gib * GIB))


def alone(name: str) -> list[Choice]:
    return [catalog_choice(find(name), ("completion",))]


@pytest.mark.parametrize("page", ["README.md", "docs/models.md"])
def test_documentation_contains_the_table(page: str) -> None:
    """After a change: copy the output of ``python -m inference.planning.gpu_table`` between the marks."""
    text = (ROOT / page).read_text("utf-8")
    documented = re.search(r"<!-- gpu-table -->\n(.*)<!-- /gpu-table -->", text, flags=re.DOTALL)
    assert documented
    assert documented[1] == table()


def test_command_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    assert capsys.readouterr().out == table()


def test_each_gpu_has_a_line_with_models_for_all_roles() -> None:
    lines = [line.strip("| ").split(" | ") for line in table().splitlines()[2:]]
    assert [line[0] for line in lines] == ["8 GB", "12 GB", "16 GB", "24 GB", "48 GB", "80 GB"]
    assert all(len(line) == 7 and "none" not in line for line in lines)


def test_first_option_with_enough_context_wins() -> None:
    """13B would fit into 10.5 GiB too, but with less than 4,096 tokens of context."""
    offers = [alone("codellama-13b"), alone("codellama-7b")]
    chosen = best(offers, gpu(10.5))
    assert chosen
    assert [choice.id for choice in chosen[0]] == ["codellama-7b"]
    assert chosen[1].context("completion") >= 4096


def test_first_option_that_fits_wins_if_none_has_enough_context() -> None:
    chosen = best([alone("codellama-13b"), alone("codellama-7b")], gpu(5.9))
    assert chosen
    assert [choice.id for choice in chosen[0]] == ["codellama-7b"]
    assert chosen[1].context("completion") == 2560


def test_gpu_without_room_for_any_model_gets_none() -> None:
    assert best([alone("codellama-13b"), alone("codellama-7b")], gpu(2)) is None
