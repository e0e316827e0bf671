"""The table of team servers: plausible setups, and the copy in the documentation."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from inference.models.catalog import find
from inference.planning.team_table import SETUPS, Setup, main, room, splits_evenly, table

PAGE = Path(__file__).parents[3] / "docs" / "team.md"


def test_documentation_contains_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """After a change: copy the output of ``python -m inference.planning.team_table`` between the marks."""
    documented = re.search(r"<!-- team-table -->\n(.*)<!-- /team-table -->", PAGE.read_text("utf-8"), re.DOTALL)
    assert documented
    assert documented[1] == table()
    assert main() == 0
    assert capsys.readouterr().out == table()


@pytest.mark.parametrize("setup", SETUPS)
def test_every_setup_of_the_table_can_hold_its_model(setup: Setup) -> None:
    assert splits_evenly(find(setup.model).shape, setup.cards)
    assert room(setup) > find(setup.model).context / 2


@pytest.mark.parametrize("setup", [Setup("codellama-70b", 1, 80), Setup("codellama-34b", 2, 24)])
def test_setup_without_room_for_the_weights_is_negative(setup: Setup) -> None:
    assert room(setup) < 0


def test_additional_gpu_adds_its_memory_less_overheads() -> None:
    """0.9 of 80 GiB, less 640 MiB, less the activations of 2,048 tokens in the larger half of a layer (the MLP's)."""
    one = Setup("codellama-34b", 2, 80)
    activations = 2048 * (2 * (5 * 8192 + 3 * 22_016) + 2048)
    more = int((80 << 30) * 0.9) - (640 << 20) - activations
    assert room(replace(one, cards=3)) - room(one) == pytest.approx(more / (192 << 10), abs=1)
