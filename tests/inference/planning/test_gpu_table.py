"""Which model for which GPU: what is preferred, and that the documentation says what the planner says."""

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


def card(gib: float) -> Device:
    return Device("cuda", "Testing GPU", int(gib * GIB), int(gib * GIB))


def alone(name: str) -> list[Choice]:
    return [catalog_choice(find(name), ("completion",))]


@pytest.mark.parametrize("page", ["README.md", "docs/models.md"])
def test_the_documentation_holds_the_planners_table(page: str) -> None:
    """After a change of the planner: put what ``python -m inference.planning.gpu_table`` prints between the marks."""
    text = (ROOT / page).read_text("utf-8")
    documented = re.search(r"<!-- gpu-table -->\n(.*)<!-- /gpu-table -->", text, flags=re.DOTALL)
    assert documented
    assert documented[1] == table()


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    assert capsys.readouterr().out == table()


def test_there_is_a_line_for_each_size_and_a_model_in_each() -> None:
    """Every card of the six holds a model for both roles."""
    lines = [line.strip("| ").split(" | ") for line in table().splitlines()[2:]]
    assert [line[0] for line in lines] == ["8 GB", "12 GB", "16 GB", "24 GB", "48 GB", "80 GB"]
    assert all(len(line) == 7 and "none" not in line for line in lines)


def test_the_first_with_enough_context_wins() -> None:
    """13B would fit 11 GiB too, with less than 4,096 tokens."""
    offers = [alone("codellama-13b"), alone("codellama-7b")]
    chosen = best(offers, card(10.5))
    assert chosen
    assert [choice.id for choice in chosen[0]] == ["codellama-7b"]
    assert chosen[1].context("completion") >= 4096


def test_where_none_has_enough_context_the_first_that_fits_wins() -> None:
    chosen = best([alone("codellama-13b"), alone("codellama-7b")], card(5.9))
    assert chosen
    assert [choice.id for choice in chosen[0]] == ["codellama-7b"]
    assert chosen[1].context("completion") == 2560


def test_a_card_that_holds_nothing_gets_nothing() -> None:
    assert best([alone("codellama-13b"), alone("codellama-7b")], card(2)) is None
