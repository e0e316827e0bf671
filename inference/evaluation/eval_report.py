"""What an evaluation found: figures by kind of hole and layout, paired comparisons, a table and a JSON object.

Knows no model. Figures are shares from 0 to 1 in JSON and percent in tables; nothing in either depends on time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from inference.evaluation import scoring
from inference.evaluation.intervals import Interval, mean_difference, share_gained
from inference.evaluation.scoring import Result

COMPARED = ("exact", "exact_shown", "similarity", "first_line", "passed", "passed_shown")
"""Measures of one answer of which two layouts' difference is told."""

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
    "as shown: the answer cut by the editor's stop rule (the line's end; for blocks the dedent), which always cuts "
    "`prefix`. Intervals: 95 %, paired bootstrap. Gained: the share of the middle's log-likelihood that the first "
    "layout has over the second."
)


def measured(result: Result) -> dict[str, float]:
    """Every measure that there is of one answer."""
    middle = result.question.middle
    found: dict[str, float] = {
        "exact": scoring.exact(result.answer, middle),
        "exact_shown": scoring.exact(result.shown, middle),
        "similarity": scoring.similarity(result.answer, middle),
        "first_line": scoring.first_line(result.answer, middle),
    }
    if result.ended is not None:
        found |= {"ended": result.ended == "model", "tokens": result.tokens}
    if result.passed is not None and result.passed_shown is not None:
        found |= {"passed": result.passed, "passed_shown": result.passed_shown}
    return {name: float(value) for name, value in found.items()}


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """Every group of questions: how many, what each layout scored, and what two layouts differ by."""
    groups = dict.fromkeys(result.question.group for result in results)
    return {group: _group([result for result in results if result.question.group == group]) for group in groups}


def _group(results: Sequence[Result]) -> dict[str, Any]:
    by_layout: dict[str, list[Result]] = {}
    for result in results:
        by_layout.setdefault(result.layout, []).append(result)
    values = {layout: [measured(result) for result in some] for layout, some in by_layout.items()}
    return {
        "holes": len(next(iter(by_layout.values()))),
        "layouts": {layout: _means(values[layout]) | _likelihood(some) for layout, some in by_layout.items()},
        "compared": [_compared(values, by_layout, *pair) for pair in _pairs(list(by_layout))],
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
        "nats_per_byte": total / sum(result.judged_bytes for result in results),
    }


def _pairs(layouts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Every layout against each one before it: infilling against the prefix alone, SPM against PSM."""
    return ((first, second) for n, first in enumerate(layouts) for second in layouts[:n])


def _compared(
    values: Mapping[str, Sequence[Mapping[str, float]]],
    results: Mapping[str, Sequence[Result]],
    first: str,
    second: str,
) -> dict[str, Any]:
    found: dict[str, Any] = {"first": first, "second": second}
    for name in COMPARED:
        if name in values[first][0]:
            pair = ([value[name] for value in values[layout]] for layout in (first, second))
            found[name] = asdict(mean_difference(*pair))
    before, after = ([result.nats for result in results[layout]] for layout in (second, first))
    if None not in before and None not in after:
        found["gained"] = asdict(share_gained([n or 0.0 for n in before], [n or 0.0 for n in after]))
    return found


def show(console: Console, groups: Mapping[str, Any]) -> None:
    """The tables for a person."""
    console.print(_scores(groups))
    if any(group["compared"] for group in groups.values()):
        console.print(_differences(groups))
        console.print(NOTES)


def _scores(groups: Mapping[str, Any]) -> Table:
    names = [name for name in HEADINGS if any(name in scores for _, _, scores in _rows(groups))]
    table = _table("holes", "layout", "", *(HEADINGS[name] for name in names))
    for group, layout, scores in _rows(groups):
        table.add_row(group, layout, str(groups[group]["holes"]), *(_figure(name, scores.get(name)) for name in names))
    return table


def _rows(groups: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, float]]]:
    return [(group, layout, scores) for group, of in groups.items() for layout, scores in of["layouts"].items()]


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if name.startswith("nats") else f"{value:.1f}" if name == "tokens" else f"{100 * value:.1f} %"


def _differences(groups: Mapping[str, Any]) -> Table:
    compared = [(group, pair) for group, of in groups.items() for pair in of["compared"]]
    names = [name for name in (*HEADINGS, "gained") if any(name in pair for _, pair in compared)]
    table = _table("holes", "difference", *(HEADINGS.get(name, "log-likelihood gained") for name in names))
    for group, pair in compared:
        cells = (_interval(Interval(**pair[name])) if name in pair else "" for name in names)
        table.add_row(group, f"{pair['first']} - {pair['second']}", *cells)
    return table


def _interval(found: Interval) -> str:
    return f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for n, heading in enumerate(headings):
        table.add_column(heading, justify="left" if n < 2 else "right", no_wrap=n < 2)
    return table
