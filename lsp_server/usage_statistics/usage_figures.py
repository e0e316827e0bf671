"""Figures from the rows: what ``codellama-ls stats`` prints and ``codellama/stats`` returns.

Shares are between 0 and 1, and None if nothing was counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from lsp_server.usage_statistics.storage import DAY, StatisticsStore, SuggestionRow
from lsp_server.usage_statistics.writer import midnight

USUAL_DAYS = 30
"""Default period of the figures."""


def recent_figures(days: int) -> dict[str, Any]:
    """Return the ``figures`` of the last ``days``, without rows in the future from a wrong clock.

    Raises ``StatisticsError``.
    """
    now = time.time()
    with closing(StatisticsStore()) as storage:
        return {"days": days, **figures(storage.read(now - days * DAY, now + DAY), midnight())}


def figures(rows: Sequence[SuggestionRow], midnight: float) -> dict[str, Any]:
    """Return the figures for JSON: ``all``, ``today`` (since ``midnight``), by ``languages`` and by ``models``."""
    return {
        "all": _group(rows),
        "today": _group([row for row in rows if row.at >= midnight]),
        "languages": _by(rows, lambda row: row.language),
        "models": _by(rows, lambda row: row.model),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: the smallest value that at least ``share`` of the values do not exceed."""
    ranked = sorted(values)
    return ranked[max(-(-len(ranked) * round(share * 100) // 100), 1) - 1]


def _by(rows: Sequence[SuggestionRow], key: Callable[[SuggestionRow], str]) -> dict[str, Any]:
    """Return the figures per key, the one with most suggestions first."""
    names = {key(row) for row in rows}
    groups = {name: _group([row for row in rows if key(row) == name]) for name in sorted(names)}
    return dict(sorted(groups.items(), key=lambda item: -item[1]["shown"]))


def _group(rows: Sequence[SuggestionRow]) -> dict[str, Any]:
    accepted, partly, typed = (sum(row.fate == fate for row in rows) for fate in ("accepted", "partly", "typed"))
    checked = [row.kept for row in rows if row.kept is not None]
    return {
        "shown": len(rows),
        "accepted": accepted,
        "acceptance": _share(accepted, len(rows)),
        "partly_accepted": partly,
        "typed_through": typed,
        "kept": sum(checked),
        "kept_of": len(checked),
        "kept_share": _share(sum(checked), len(checked)),
        "characters_shown": sum(row.characters for row in rows),
        "characters_saved": sum(row.taken for row in rows),
        "latency_ms": _latency([row.latency_ms for row in rows]),
    }


def _latency(values: Sequence[float]) -> dict[str, float] | None:
    return {f"p{n}": percentile(values, n / 100) for n in (50, 90, 95, 99)} if values else None


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
