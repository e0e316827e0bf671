"""Tables of figures: alignment, titles and number formats."""

from __future__ import annotations

from rich.console import Console

from inference.system.terminal import figure_table, percent, points


def test_shares_and_intervals_are_formatted_in_percent():
    assert percent(0.4467) == "44.7 %"
    assert points({"value": 0.074, "low": -0.02, "high": 0.128}) == "+7.4 [-2.0, +12.8]"
    assert points({"value": 0.0, "low": 0.0, "high": 0.0}, 2) == "+0.00 [+0.00, +0.00]"


def test_labels_are_left_and_figures_right_aligned():
    table = figure_table(("layout",), ("exact match",))
    table.add_row("spm", percent(0.5))
    console = Console(width=40, color_system=None)
    with console.capture() as capture:
        console.print(table)
    assert capture.get().splitlines()[1].rstrip() == "spm          50.0 %"
