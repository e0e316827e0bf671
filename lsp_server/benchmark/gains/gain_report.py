"""The figures as tables for a person. Knows nothing but the figures (``figures``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from lsp_server.benchmark.gains.gain_figures import OTHER_ENDS, OTHER_FILES
from lsp_server.benchmark.gains.gain_holes import KINDS

NOTES = (
    "Each difference is to the stage above, in points, with its 95 % interval (paired bootstrap over holes). Where a "
    "line is missing, every stage is cut after its first; of a block, those without rules show all that was written. "
    "Nothing shown counts as wrong; similarity is that of what is shown, compared where both stages show something. "
    "Last come ends of lines beside the other holes, all of which need a name that only another file defines."
)
RULE_NOTES = (
    "Each rule left out by itself: touched are the holes at which another text is shown then; dropped, those at which "
    "the rule leaves nothing; what it adds is in points of all its holes. Similarity is not compared where one of the "
    "two shows nothing."
)
HEADINGS = {"exact": "exact match", "similarity": "edit similarity", "first_line": "first line"}


def show(console: Console, found: Mapping[str, Any]) -> None:
    """All tables."""
    console.print(_stages(found["groups"]), NOTES, "", sep="\n")
    console.print(_rules(found["rules"]), RULE_NOTES, _true_blocks(found["true_blocks"]), "", sep="\n")
    console.print(_confidence(found["confidence"]))


def _stages(groups: Mapping[str, Any]) -> Table:
    columns = [heading for name in HEADINGS for heading in (HEADINGS[name], "added")]
    table = _table("What each part adds", ("holes", "", "stage"), (*columns, "shown", "right of shown"))
    for name in ("all", *KINDS, OTHER_FILES, OTHER_ENDS):
        if name in groups:
            _group(table, name, groups[name])
    return table


def _group(table: Table, name: str, group: Mapping[str, Any]) -> None:
    for stage, scores in group["stages"].items():
        added = group["added"].get(stage, {})
        cells = [cell for m in HEADINGS for cell in (_percent(scores[m]), _interval(added.get(m)))]
        table.add_row(
            name, str(group["holes"]), stage, *cells, _percent(scores["shown"]), _percent(scores["precision"])
        )
    table.add_section()


def _rules(rules: Sequence[Mapping[str, Any]]) -> Table:
    counts = ("holes", "touched", "dropped", "made right", "made wrong")
    table = _table("What each rule adds", ("rule",), (*counts, "to exact match", "to edit similarity"))
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
    title = "What is left where the model must give the first line so great a probability (completion.minConfidence)"
    columns = {"shown": "still shown", "right": "right", "first_line": "first line right", "kept_right": "of all right"}
    table = _table(title, ("threshold",), tuple(columns.values()))
    for row in rows:
        table.add_row(f"{row['threshold']:.2f}", *(_percent(row[name]) for name in columns))
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _interval(found: Mapping[str, float] | None, digits: int = 1) -> str:
    if found is None:
        return ""
    value, low, high = (f"{100 * found[name]:+.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _table(title: str, names: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=name == "added")
    return table
