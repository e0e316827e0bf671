"""Figures and tables of samples whose times are known."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lsp_server.measure.felt import Felt
from lsp_server.measure.figures import figures, percentile
from lsp_server.measure.report import show
from lsp_server.measure.scenarios import Results, Sample
from lsp_server.measure.sides.side import Answer


def answered(first: float, step: float, tokens: int = 3, prompt: int = 100, prefilled: int | None = 4) -> Answer:
    """The first token after ``first`` seconds, each other ``step`` later; all is there with the last."""
    arrivals = tuple(first + step * n for n in range(tokens))
    return Answer(arrivals, arrivals[-1], prompt, prefilled, tokens)


def results() -> Results:
    """A rival that takes twice as long at one request and four times as long at the other."""
    return Results(
        samples=[
            Sample("us", "cold", 0, answered(0.2, 0.1, prefilled=100)),
            Sample("them", "cold", 0, answered(0.4, 0.2, prefilled=100)),
            Sample("them", "warm", 1, answered(0.4, 0.4)),
            Sample("us", "warm", 1, answered(0.1, 0.1)),
            Sample("us", "unseen", 0, answered(0.5, 0.1, prompt=800, prefilled=800)),
            Sample("them", "unseen", 0, answered(2.0, 0.1, prompt=800, prefilled=None)),
            Sample("us", "decode", 0, answered(0.1, 0.01, tokens=11)),
            Sample("them", "decode", 0, answered(0.1, 0.05, tokens=11)),
        ],
        felt={0: Felt(0.1, 2, 5), 1: Felt(0.01, None, 5), 2: Felt(0.001, None, 0)},
        gaps={"us": [0.01, 0.01, 0.03]},
        waits={"us": ([0.01, 0.02], [0.05, 0.06])},
        peaks={"us": 250_000_000},
    )


def test_times_are_medians_and_95th_percentiles_in_milliseconds():
    us = figures(results(), "us")["sides"]["us"]
    assert us["requests"]["warm"] == {
        "count": 1,
        "first_token_ms": {"p50": 100.0, "p95": 100.0},
        "line_ms": {"p50": 300.0, "p95": 300.0},
        "prompt_tokens": 100,
        "prefilled_tokens": 4,
    }
    assert us["requests"]["all"]["count"] == 2
    assert us["requests"]["all"]["first_token_ms"] == {"p50": 150.0, "p95": 200.0}


def test_what_a_server_does_not_tell_is_not_made_up():
    them = figures(results(), "us")["sides"]["them"]
    assert them["requests"]["unseen"]["prefilled_tokens"] is None
    assert [them[name] for name in ("prefill_tokens_per_second", "jitter_ms", "wait_ms", "peak_memory_mb")] == [
        None
    ] * 4


def test_rates_waits_and_memory():
    us = figures(results(), "us")["sides"]["us"]
    assert us["decode_tokens_per_second"] == 100.0
    assert us["prefill_tokens_per_second"] == 1600.0
    assert us["jitter_ms"] == {"p50": 10.0, "p95": 30.0, "max": 30.0}
    assert us["wait_ms"] == {"idle": {"p50": 15.0, "p95": 20.0}, "during_chat": {"p50": 55.0, "p95": 60.0}}
    assert us["peak_memory_mb"] == 250


def test_ratios_are_of_the_same_request_asked_of_both():
    ratios = figures(results(), "us")["ratios"]
    assert list(ratios) == ["them"]
    assert ratios["them"]["first_token"] == {"all": 3.0, "cold": 2.0, "warm": 4.0, "unseen": 4.0}
    assert ratios["them"]["line"] == {"all": 3.0, "cold": 2.0, "warm": 4.0, "unseen": 3.14}
    assert ratios["them"]["line_p95"] == {"all": 3.0, "cold": 2.0, "warm": 4.0, "unseen": 3.14}
    assert ratios["them"]["decode"] == 5.0


def test_as_felt_a_rival_is_charged_only_for_what_the_server_had_written():
    """Request 0: two tokens took the rival 0.6 s; 1: no model was asked, and its first token 0.4 s; 2: nothing said."""
    felt = figures(results(), "us")["felt"]
    assert felt == {
        "requests": 3,
        "answered": 2,
        "calls_avoided": 1,
        "ms": {"p50": 55.0, "p95": 100.0},
        "ratios": {"them": 23.0},
    }


@pytest.mark.parametrize(("share", "value"), [(0.5, 10), (0.95, 19), (1.0, 20)])
def test_percentiles_are_values_that_were_measured(share, value):
    assert percentile(list(range(20, 0, -1)), share) == value


def test_tables_show_both_sides_and_a_dash_where_nothing_is_known():
    console = Console(file=io.StringIO(), width=160)
    show(console, figures(results(), "us"))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    rows = {tuple(cell.strip() for cell in line.split("│")[1:-1]) for line in printed.splitlines()}
    assert ("warm", "us", "1", "100.0 / 100.0", "300.0 / 300.0", "100", "4") in rows
    assert ("us", "100", "1600", "15.0 / 20.0", "55.0 / 60.0", "10.0 / 30.0", "250") in rows
    assert ("them", "20", "–", "–", "–", "–", "–") in rows
    assert ("them", "whole answer", "3", "2", "4", "3.14", "5") in rows
    assert ("them", "as felt", "23", "", "", "", "") in rows
    assert "2 of 3 requests answered, 1 of them without the model; 55.0 / 100.0 ms." in printed
