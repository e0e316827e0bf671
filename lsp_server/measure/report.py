"""The figures as tables for a person. Knows nothing but the figures (``figures``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

NOTHING = "–"


def show(console: Console, figures: dict[str, Any]) -> None:
    """All tables, each side by side."""
    console.print(_requests(figures["sides"]), "")
    console.print(_servers(figures["sides"]), "")
    if figures["ratios"]:
        console.print(_ratios(figures["ratios"], figures["felt"]), "")
    if figures["felt"]:
        console.print(_felt_in_words(figures["felt"]))


def _requests(sides: dict[str, Any]) -> Table:
    table = _table(
        "An editor's requests (milliseconds; median / 95 %)",
        ("request", "side"),
        ("count", "first token", "whole answer", "prompt tokens", "of them read"),
    )
    kinds = dict.fromkeys(kind for side in sides.values() for kind in side["requests"])
    for kind in kinds:
        for name, side in sides.items():
            if kind in side["requests"]:
                one = side["requests"][kind]
                times = _spread(one["first_token_ms"]), _spread(one["line_ms"])
                counts = _number(one["prompt_tokens"]), _number(one["prefilled_tokens"])
                table.add_row(kind, name, str(one["count"]), *times, *counts)
        table.add_section()
    return table


def _servers(sides: dict[str, Any]) -> Table:
    table = _table(
        "Each by itself (waits and jitter in milliseconds; median / 95 %)",
        ("side",),
        ("decode tokens/s", "prefill tokens/s", "wait idle", "wait during chat", "8 streams: gap", "peak MB"),
    )
    for name, side in sides.items():
        waits = side["wait_ms"] or {}
        table.add_row(
            name,
            _number(side["decode_tokens_per_second"]),
            _number(side["prefill_tokens_per_second"]),
            _spread(waits.get("idle")),
            _spread(waits.get("during_chat")),
            _spread(side["jitter_ms"]),
            _number(side["peak_memory_mb"]),
        )
    return table


def _ratios(ratios: dict[str, Any], felt: dict[str, Any] | None) -> Table:
    kinds = list(dict.fromkeys(kind for rival in ratios.values() for kind in rival["line"]))
    table = _table("How many times faster than each rival (medians of pairs)", ("rival", ""), (*kinds, "decode"))
    for name, rival in ratios.items():
        for title, figure in (("first token", "first_token"), ("whole answer", "line"), ("its 95 %", "line_p95")):
            decode = _number(rival["decode"]) if figure == "line" else ""
            table.add_row(name, title, *(_number(rival[figure].get(kind)) for kind in kinds), decode)
        if felt:
            table.add_row(name, "as felt", _number(felt["ratios"][name]), *[""] * len(kinds))
        table.add_section()
    return table


def _felt_in_words(felt: dict[str, Any]) -> str:
    return (
        f"As felt, through the language server: {felt['answered']} of {felt['requests']} requests answered, "
        f"{felt['calls_avoided']} of them without the model; {_spread(felt['ms'])} ms."
    )


def _table(title: str, names: Iterable[str], numbers: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in names:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _spread(one: dict[str, float] | None) -> str:
    return f"{one['p50']:.1f} / {one['p95']:.1f}" if one else NOTHING


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:g}"
