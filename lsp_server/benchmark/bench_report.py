"""The figures of ``bench`` as tables for the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from inference.system.terminal import figure_table

NOTHING = "–"


def show(console: Console, figures: dict[str, Any]) -> None:
    """Print all tables."""
    sides = figures["sides"]
    console.print(_requests(sides), "")
    console.print(_servers(sides), "")
    if any(side["wait_ms"] for side in sides.values()):
        console.print(_waits(sides), "")
    if figures["ratios"]:
        console.print(_ratios(figures["ratios"], figures["felt"]), "")
    for line in (_rewrites_line(figures["rewrites"]), _end_to_end_line(figures["felt"])):
        if line:
            console.print(line)


def _requests(sides: dict[str, Any]) -> Table:
    table = figure_table(
        ("request", "side"),
        ("count", "first token", "completion", "prompt tokens", "prefilled", "output tokens", "drafted"),
        "An editor's requests (milliseconds; median / 95 %)",
        ruled=True,
    )
    kinds = dict.fromkeys(kind for side in sides.values() for kind in side["requests"])
    for kind in kinds:
        for name, side in sides.items():
            if kind in side["requests"]:
                one = side["requests"][kind]
                times = _spread(one["first_token_ms"]), _spread(one["line_ms"])
                counts = ("prompt_tokens", "prefilled_tokens", "answer_tokens", "drafted_tokens")
                table.add_row(kind, name, str(one["count"]), *times, *(_number(one[count]) for count in counts))
        table.add_section()
    return table


def _servers(sides: dict[str, Any]) -> Table:
    table = figure_table(
        ("side",),
        ("decode tokens/s", "prefill tokens/s", "streams", "first token", "between parts", "at most", "peak MB"),
        "Each side by itself (milliseconds; median / 95 %)",
        ruled=True,
    )
    for name, side in sides.items():
        streams = side["streams"] or {}
        gap = streams.get("gap_ms")
        table.add_row(
            name,
            _number(side["decode_tokens_per_second"]),
            _number(side["prefill_tokens_per_second"]),
            _number(streams.get("count")),
            _spread(streams.get("first_token_ms")),
            _spread(gap),
            _number(gap and gap["max"]),
            _number(side["peak_memory_mb"]),
        )
    return table


def _waits(sides: dict[str, Any]) -> Table:
    table = figure_table(
        ("side",),
        ("count", "idle", "during a chat", "longer at 95 %", "between the chat's parts"),
        "A completion's wait for its first token (milliseconds; median / 95 %)",
        ruled=True,
    )
    for name, side in sides.items():
        if waits := side["wait_ms"]:
            longer = _number(waits["longer_p95"])
            idle, busy, step = (_spread(waits[what]) for what in ("idle", "during_chat", "chat_step"))
            table.add_row(name, str(waits["count"]), idle, busy, longer, step)
    return table


def _ratios(ratios: dict[str, Any], felt: dict[str, Any] | None) -> Table:
    kinds = list(dict.fromkeys(kind for rival in ratios.values() for kind in rival["line"]))
    table = figure_table(
        ("rival", ""), (*kinds, "decode"), "How many times faster than each rival (medians of pairs)", ruled=True
    )
    for name, rival in ratios.items():
        for title, figure in (("first token", "first_token"), ("completion", "line"), ("its 95 %", "line_p95")):
            decode = _number(rival["decode"]) if figure == "line" else ""
            table.add_row(name, title, *(_number(rival[figure].get(kind)) for kind in kinds), decode)
        if felt and name in felt["ratios"]:
            for title, figure in (("end to end", "median"), ("its 95 %", "p95"), ("in all", "whole")):
                table.add_row(name, title, _number(felt["ratios"][name][figure]), *[""] * len(kinds))
        table.add_section()
    return table


def _rewrites_line(rewrites: dict[str, Any] | None) -> str:
    if not rewrites:
        return ""
    return (
        f"{rewrites['count']} rewrites of {rewrites['answer_tokens']:g} tokens: "
        f"{rewrites['tokens_per_second']:g} tokens/s with drafts, {rewrites['plain_tokens_per_second']:g} without, "
        f"{rewrites['times_faster']:g} times faster; {rewrites['drafted_share']:.0%} of the tokens were drafted."
    )


def _end_to_end_line(felt: dict[str, Any] | None) -> str:
    if not felt:
        return ""
    return (
        f"End to end, through the language server: of {felt['requests']} requests {felt['calls']} called the model, "
        f"{felt['calls_avoided']} were answered without it ({_spread(felt['without_model_ms'])} ms); "
        f"in all {_spread(felt['ms'])} ms."
    )


def _spread(one: dict[str, float] | None) -> str:
    return f"{one['p50']:.1f} / {one['p95']:.1f}" if one else NOTHING


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:g}"
