"""Report of an evaluation: scores by kind of hole and layout, paired comparisons, as JSON values and as tables.

Shares are 0 to 1 in JSON and percent in tables. Neither contains times, so a repeated run gives the same report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import TYPE_CHECKING, Any

from inference.evaluation import scoring
from inference.evaluation.intervals import mean_difference, share_gained
from inference.evaluation.scoring import Result
from inference.system.terminal import figure_table, percent, points

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

COMPARED = ("exact", "exact_shown", "similarity", "first_line", "passed", "passed_shown")
"""Scores of one completion that two layouts are compared by."""

HEADINGS = {
    "exact": "exact match",
    "exact_shown": "as shown",
    "passed": "pass@1",
    "passed_shown": "as shown",
    "similarity": "edit similarity",
    "first_line": "first line",
    "ended": "ended by EOT",
    "tokens": "tokens",
    "nats_per_token": "nats/token",
    "nats_per_byte": "nats/byte",
}

NOTES = (
    "as shown: the completion cut by the editor's stop rule (end of line; dedent for blocks). It always applies to "
    "`prefix`. Intervals: 95 %, paired bootstrap. Log-likelihood gained: the share of the middle's log-likelihood that "
    "the first layout gains over the second."
)


def scores(result: Result) -> dict[str, float]:
    """Return every score that is known of one completion."""
    middle = result.case.hole.middle
    values: dict[str, float] = {
        "exact": scoring.exact(result.completion, middle),
        "exact_shown": scoring.exact(result.displayed, middle),
        "similarity": scoring.similarity(result.completion, middle),
        "first_line": scoring.first_line(result.completion, middle),
    }
    if result.ended is not None:
        values |= {"ended": result.ended == "model", "tokens": result.tokens}
    if result.passed is not None and result.passed_shown is not None:
        values |= {"passed": result.passed, "passed_shown": result.passed_shown}
    return {name: float(value) for name, value in values.items()}


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """Return, for each group of holes, its size, the scores of each layout and the differences between layouts."""
    groups = dict.fromkeys(result.case.group for result in results)
    return {group: _group([result for result in results if result.case.group == group]) for group in groups}


def _group(results: Sequence[Result]) -> dict[str, Any]:
    by_layout: dict[str, list[Result]] = {}
    for result in results:
        by_layout.setdefault(result.layout, []).append(result)
    values = {layout: [scores(result) for result in some] for layout, some in by_layout.items()}
    return {
        "holes": len(next(iter(by_layout.values()))),
        "layouts": {layout: _means(values[layout]) | _likelihood(some) for layout, some in by_layout.items()},
        "compared": [_comparison(values, by_layout, *pair) for pair in _pairs(list(by_layout))],
    }


def _means(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: fmean(value[name] for value in values) for name in values[0]}


def _likelihood(results: Sequence[Result]) -> dict[str, float]:
    nats = [result.nats for result in results if result.nats is not None]
    if len(nats) < len(results):
        return {}
    total = sum(nats)
    return {
        "nats_per_token": total / sum(result.nats_tokens for result in results),
        "nats_per_byte": total / sum(result.scored_bytes for result in results),
    }


def _pairs(layouts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pair every layout with each one before it: infilling with the prefix alone, SPM with PSM."""
    return ((first, second) for n, first in enumerate(layouts) for second in layouts[:n])


def _comparison(
    values: Mapping[str, Sequence[Mapping[str, float]]],
    results: Mapping[str, Sequence[Result]],
    first: str,
    second: str,
) -> dict[str, Any]:
    compared: dict[str, Any] = {"first": first, "second": second}
    for name in COMPARED:
        if name in values[first][0]:
            pair = ([value[name] for value in values[layout]] for layout in (first, second))
            compared[name] = asdict(mean_difference(*pair))
    before, after = ([result.nats for result in results[layout]] for layout in (second, first))
    if None not in before and None not in after:
        compared["gained"] = asdict(share_gained([n or 0.0 for n in before], [n or 0.0 for n in after]))
    return compared


def print_report(console: Console, groups: Mapping[str, Any]) -> None:
    """Print the groups of a ``summary`` as tables."""
    console.print(_scores_table(groups))
    if any(group["compared"] for group in groups.values()):
        console.print(_differences_table(groups))
        console.print(NOTES)


def _scores_table(groups: Mapping[str, Any]) -> Table:
    names = [name for name in HEADINGS if any(name in row for _, _, row in _rows(groups))]
    table = figure_table(("holes", "layout"), ("", *(HEADINGS[name] for name in names)))
    for group, layout, row in _rows(groups):
        table.add_row(group, layout, str(groups[group]["holes"]), *(_figure(name, row.get(name)) for name in names))
    return table


def _rows(groups: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, float]]]:
    return [(group, layout, row) for group, values in groups.items() for layout, row in values["layouts"].items()]


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if name.startswith("nats") else f"{value:.1f}" if name == "tokens" else percent(value)


def _differences_table(groups: Mapping[str, Any]) -> Table:
    compared = [(group, pair) for group, values in groups.items() for pair in values["compared"]]
    names = [name for name in (*HEADINGS, "gained") if any(name in pair for _, pair in compared)]
    headings = (HEADINGS.get(name, "log-likelihood gained") for name in names)
    table = figure_table(("holes", "difference"), tuple(headings))
    for group, pair in compared:
        cells = (points(pair[name]) if name in pair else "" for name in names)
        table.add_row(group, f"{pair['first']} - {pair['second']}", *cells)
    return table
