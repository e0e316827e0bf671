"""What suggestions saved a person who writes real files: figures by language and in all, and their table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from rich.table import Table

from lsp_server.measure.figures import ALL, spread
from lsp_server.measure.writing import Tally


def saved(tallies: Sequence[Tally]) -> dict[str, Any]:
    """Figures by language, ``all`` last."""
    languages = sorted({tally.language for tally in tallies})
    of = {language: [tally for tally in tallies if tally.language == language] for language in languages}
    return {name: _figures(_sum(name, some)) for name, some in {**of, ALL: list(tallies)}.items()}


def table(figures: dict[str, Any]) -> Table:
    """One row a language."""
    drawn = Table(title="A person writes real code and takes what is right", title_justify="left")
    drawn.add_column("language")
    for name in (
        *("files", "keys alone", "pressed", "saved", "shown", "accepted", "of shown", "partly"),
        *("requests", "unanswered", "without model", "model calls", "calls/100 keys", "ms (median / 95 %)"),
    ):
        drawn.add_column(name, justify="right")
    for language, one in figures.items():
        if language == ALL:
            drawn.add_section()
        drawn.add_row(language, *_cells(one))
    return drawn


def _cells(one: dict[str, Any]) -> list[str]:
    times = f"{one['ms']['p50']:.0f} / {one['ms']['p95']:.0f}" if one["ms"] else "–"
    keys = (str(one["files"]), str(one["keys_alone"]), str(one["keys"]), f"{one['saved']:.1%}")
    suggestions = (str(one["shown"]), str(one["accepted"]), f"{one['acceptance']:.0%}", str(one["partly_accepted"]))
    asked = (str(one[name]) for name in ("requests", "unanswered", "without_model", "model_calls"))
    return [*keys, *suggestions, *asked, f"{one['calls_per_100_keys']:.0f}", times]


def _sum(language: str, tallies: Sequence[Tally]) -> Tally:
    whole = Tally(language, files=0)
    for name in (field.name for field in fields(Tally) if field.name not in ("language", "seconds")):
        setattr(whole, name, sum(getattr(tally, name) for tally in tallies))
    whole.seconds = [second for tally in tallies for second in tally.seconds]
    return whole


def _figures(tally: Tally) -> dict[str, Any]:
    return {
        "files": tally.files,
        "keys_alone": tally.alone,
        "keys": tally.keys,
        "saved": _share(tally.alone - tally.keys, tally.alone),
        "shown": tally.shown,
        "accepted": tally.accepted,
        "partly_accepted": tally.partly,
        "acceptance": _share(tally.accepted, tally.shown),
        "requests": tally.requests,
        "unanswered": tally.unanswered,
        "superseded": tally.superseded,
        "without_model": tally.known,
        "model_calls": tally.calls,
        "calls_per_100_keys": round(100 * _share(tally.calls, tally.keys), 1),
        "ms": spread(tally.seconds) if tally.seconds else None,
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
