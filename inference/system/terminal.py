"""Terminal output: the type of progress callbacks, and tables of figures. rich is imported on use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


OnProgress = Callable[[int, int], None]
"""Called with the count done and the total, in a unit of the caller's (bytes, tensors, weights)."""


def figure_table(labels: Sequence[str], figures: Sequence[str], title: str = "", *, ruled: bool = False) -> Table:
    """Return an empty table: label columns are left-aligned and not wrapped, figure columns right-aligned.

    ``ruled`` draws a frame and section lines.
    """
    from rich.box import HEAVY_HEAD
    from rich.table import Table

    table = Table(
        title=title or None,
        title_justify="left",
        box=HEAVY_HEAD if ruled else None,
        pad_edge=ruled,
        header_style="bold",
    )
    for label in labels:
        table.add_column(label, no_wrap=True)
    for figure in figures:
        table.add_column(figure, justify="right")
    return table


def percent(share: float) -> str:
    """Format a share from 0 to 1, such as ``44.7 %``."""
    return f"{100 * share:.1f} %"


def points(interval: Mapping[str, float], digits: int = 1) -> str:
    """Format a difference of shares and its bounds in percentage points, such as ``+7.4 [+2.0, +12.8]``.

    ``interval`` has the fields of ``evaluation.intervals.Interval``: ``value``, ``low`` and ``high``.
    """
    value, low, high = (f"{100 * interval[name]:+.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
