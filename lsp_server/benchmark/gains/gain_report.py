"""The figures of ``gains`` as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from inference.system.terminal import figure_table, percent, points
from lsp_server.benchmark.gains.gain_figures import OTHER_ENDS, OTHER_FILES
from lsp_server.benchmark.gains.gain_holes import KINDS

NOTES = (
    "Each difference is to the stage above, in percentage points, with its 95 % interval (paired bootstrap). "
    "Where a line is missing, every stage is cut after its first line; of a block, stages without rules show all that "
    "was generated. An empty completion counts as wrong; similarity is compared where both stages show text. The last "
    "group is additional ends of lines, all of which need a name that only another file defines."
)
RULE_NOTES = (
    "Each rule is left out by itself. Touched: holes where the text differs then. Dropped: holes where the rule leaves "
    "no text. Differences are percentage points over all its holes; similarity is compared where both show text."
)
HEADINGS = {"exact": "exact match", "similarity": "edit similarity", "first_line": "first line"}


def show(console: Console, found: Mapping[str, Any]) -> None:
    """Print all tables."""
    console.print(_stages(found["groups"]), NOTES, "", sep="\n")
    console.print(_rules(found["rules"]), RULE_NOTES, _true_blocks(found["true_blocks"]), "", sep="\n")
    console.print(_confidence(found["confidence"]))


def _stages(groups: Mapping[str, Any]) -> Table:
    columns = [heading for name in HEADINGS for heading in (HEADINGS[name], "added")]
    table = figure_table(("holes", "", "stage"), (*columns, "shown", "right of shown"), "What each part adds")
    for name in ("all", *KINDS, OTHER_FILES, OTHER_ENDS):
        if name in groups:
            _group(table, name, groups[name])
    return table


def _group(table: Table, name: str, group: Mapping[str, Any]) -> None:
    for stage, scores in group["stages"].items():
        added = group["added"].get(stage, {})
        cells = [cell for m in HEADINGS for cell in (percent(scores[m]), _interval(added.get(m)))]
        table.add_row(name, str(group["holes"]), stage, *cells, percent(scores["shown"]), percent(scores["precision"]))
    table.add_section()


def _rules(rules: Sequence[Mapping[str, Any]]) -> Table:
    counts = ("holes", "touched", "dropped", "made right", "made wrong")
    table = figure_table(("rule",), (*counts, "to exact match", "to edit similarity"), "What each rule adds")
    for rule in rules:
        numbers = (str(rule[name]) for name in ("holes", "touched", "dropped", "righted", "wronged"))
        table.add_row(rule["rule"], *numbers, _interval(rule["exact"], 2), _interval(rule["similarity"], 2))
    return table


def _true_blocks(found: Mapping[str, int]) -> str:
    return (
        f"Of {found['blocks']} true blocks, followed by what truly follows, the stop rule cuts {found['cut']} too "
        f"early ({found['cut_lines']} of them as it allows one line there), and lets {found['too_long']} go on."
    )


def _confidence(rows: Sequence[Mapping[str, float]]) -> Table:
    title = "Completions left with a least probability of the first line (completion.minConfidence)"
    columns = {"shown": "still shown", "right": "right", "first_line": "first line right", "kept_right": "of all right"}
    table = figure_table(("threshold",), tuple(columns.values()), title)
    for row in rows:
        table.add_row(f"{row['threshold']:.2f}", *(percent(row[name]) for name in columns))
    return table


def _interval(found: Mapping[str, float] | None, digits: int = 1) -> str:
    return "" if found is None else points(found, digits)
