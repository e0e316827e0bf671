"""Figures computed from rows."""

from __future__ import annotations

from lsp_server.usage_statistics.storage import SuggestionRow
from lsp_server.usage_statistics.usage_figures import figures


def row(n: int, language: str = "python", latency: float = 10.0, **changes) -> SuggestionRow:
    return SuggestionRow(**{"id": n, "at": float(n), "language": language, "model": "starter", "invoked": False,
                  "latency_ms": latency, "characters": 10, **changes})  # fmt: skip


ROWS = [
    row(1, latency=10.0, fate="accepted", taken=10, kept=True),
    row(2, latency=20.0, fate="accepted", taken=8, typed=2, kept=False),
    row(3, latency=30.0, fate="partly", taken=4),
    row(4, latency=40.0),
    row(5, "go", latency=50.0, fate="typed", typed=10),
]


def test_figures_in_total_and_by_language():
    result = figures(ROWS, midnight=4.0)
    assert result["all"] == {
        "shown": 5,
        "accepted": 2,
        "acceptance": 0.4,
        "partly_accepted": 1,
        "typed_through": 1,
        "kept": 1,
        "kept_of": 2,
        "kept_share": 0.5,
        "characters_shown": 50,
        "characters_saved": 22,
        "latency_ms": {"p50": 30.0, "p90": 50.0, "p95": 50.0, "p99": 50.0},
    }
    assert list(result["languages"]) == ["python", "go"]
    assert (result["languages"]["go"]["shown"], result["languages"]["go"]["acceptance"]) == (1, 0.0)
    assert result["models"] == {"starter": result["all"]}
    assert result["today"]["shown"] == 2


def test_shares_of_nothing_are_none():
    """A share of zero would be wrong."""
    nothing = figures([], midnight=0.0)
    assert (nothing["all"]["acceptance"], nothing["all"]["kept_share"], nothing["all"]["latency_ms"]) == (None,) * 3
    assert nothing["languages"] == nothing["models"] == {}
