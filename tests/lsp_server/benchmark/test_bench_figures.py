"""Figures and tables of samples with known times."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lsp_server.benchmark.bench_figures import figures, percentile
from lsp_server.benchmark.bench_report import show
from lsp_server.benchmark.end_to_end import EndToEndCompletion
from lsp_server.benchmark.scenarios import Results, Sample, Waits
from lsp_server.benchmark.sides.side import TimedCompletion


def answered(
    first: float, step: float, tokens: int = 3, prompt: int = 100, prefilled: int | None = 4, accepted: int = 0
) -> TimedCompletion:
    """Return a completion with the first token after ``first`` seconds and one more every ``step``."""
    arrivals = tuple(first + step * n for n in range(tokens))
    return TimedCompletion(arrivals, tuple(range(1, tokens + 1)), arrivals[-1], prompt, prefilled, tokens, accepted)


def results() -> Results:
    """Return results with a rival that takes two and four times as long."""
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
            Sample("us", "rewrite", 0, answered(0.1, 0.1, tokens=10, accepted=6)),
            Sample("us", "plain rewrite", 0, answered(0.1, 0.4, tokens=10)),
        ],
        felt={
            0: EndToEndCompletion(0.1, 2, 5, False),
            1: EndToEndCompletion(0.01, None, 5, True),
            2: EndToEndCompletion(0.001, None, 0, False),
        },
        streams={"us": [answered(0.1, 0.01), answered(0.3, 0.03)]},
        waits={"us": Waits([0.01, 0.02], [0.05, 0.06], [0.02, 0.03])},
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
        "answer_tokens": 3,
        "drafted_tokens": 0,
    }
    assert us["requests"]["all"]["count"] == 2
    assert us["requests"]["all"]["first_token_ms"] == {"p50": 150.0, "p95": 200.0}


def test_unreported_figures_are_none():
    them = figures(results(), "us")["sides"]["them"]
    assert them["requests"]["unseen"]["prefilled_tokens"] is None
    assert [them[name] for name in ("prefill_tokens_per_second", "streams", "wait_ms", "peak_memory_mb")] == [None] * 4


def test_rates_waits_and_memory():
    us = figures(results(), "us")["sides"]["us"]
    assert us["decode_tokens_per_second"] == 100.0
    assert us["prefill_tokens_per_second"] == 1600.0
    assert us["streams"] == {
        "count": 2,
        "first_token_ms": {"p50": 200.0, "p95": 300.0},
        "gap_ms": {"p50": 20.0, "p95": 30.0, "max": 30.0},
    }
    assert us["wait_ms"] == {
        "count": 2,
        "idle": {"p50": 15.0, "p95": 20.0},
        "during_chat": {"p50": 55.0, "p95": 60.0},
        "longer_p95": 40.0,
        "chat_step": {"p50": 25.0, "p95": 30.0},
    }
    assert us["peak_memory_mb"] == 250


def test_ratios_compare_the_same_request():
    ratios = figures(results(), "us")["ratios"]
    assert list(ratios) == ["them"]
    assert ratios["them"]["first_token"] == {"all": 3.0, "cold": 2.0, "warm": 4.0, "unseen": 4.0}
    assert ratios["them"]["line"] == {"all": 3.0, "cold": 2.0, "warm": 4.0, "unseen": 3.14}
    assert ratios["them"]["line_p95"] == {"all": 3.0, "cold": 2.0, "warm": 4.0, "unseen": 3.14}
    assert ratios["them"]["decode"] == 5.0


def test_95th_percentile_covers_common_requests_only():
    """Requests sent only to our side are in no ratio."""
    more = results()
    more.samples.append(Sample("us", "warm", 2, answered(50, 0.1)))
    assert figures(more, "us")["ratios"]["them"]["line_p95"]["warm"] == 4.0
    assert figures(more, "us")["ratios"] == figures(results(), "us")["ratios"]


def test_end_to_end_without_common_requests_has_no_ratio():
    alone = results()
    alone.samples = [sample for sample in alone.samples if sample.side == "us" or sample.kind != "warm"]
    alone.felt = {1: EndToEndCompletion(0.01, None, 5, True)}
    assert figures(alone, "us")["felt"]["ratios"] == {"them": {"median": None, "p95": None, "whole": None}}


def test_rewrites_with_drafts_over_the_same_without():
    assert figures(results(), "us")["rewrites"] == {
        "count": 1,
        "answer_tokens": 10,
        "drafted_share": 0.6,
        "tokens_per_second": 10.0,
        "plain_tokens_per_second": 2.7,
        "times_faster": 3.7,
    }
    assert figures(Results(samples=results().samples[:2]), "us")["rewrites"] is None


@pytest.mark.parametrize(("tokens", "seconds"), [(1, 0.2), (2, 0.2), (3, 0.5), (4, 0.5), (5, 0.6), (9, 0.6)])
def test_token_arrives_with_its_part(tokens, seconds):
    """Each part brings two tokens; the fifth has no text."""
    assert TimedCompletion((0.2, 0.5), (2, 4), 0.6, 100, 4, 5).until(tokens) == seconds


def test_decode_rate_excludes_the_first_part():
    assert TimedCompletion((0.2, 0.5), (2, 4), 0.7, 100, 4, 4).decode_rate == pytest.approx(4)


def test_end_to_end_rival_time_ends_with_the_last_shown_token():
    """Request 0: the rival's two tokens took 0.6 s. 1: no model call; its first token took 0.4 s. 2: no token."""
    felt = figures(results(), "us")["felt"]
    assert felt == {
        "requests": 3,
        "answered": 2,
        "calls": 1,
        "calls_avoided": 1,
        "ms": {"p50": 55.0, "p95": 100.0},
        "without_model_ms": {"p50": 10.0, "p95": 10.0},
        "ratios": {"them": {"median": 23.0, "p95": 6.0, "whole": 9.09}},
    }


@pytest.mark.parametrize(("share", "value"), [(0.5, 10), (0.95, 19), (1.0, 20)])
def test_percentiles_are_measured_values(share, value):
    assert percentile(list(range(20, 0, -1)), share) == value


def test_tables_show_both_sides_and_a_dash_for_unknown_figures():
    console = Console(file=io.StringIO(), width=160)
    show(console, figures(results(), "us"))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    rows = {tuple(cell.strip() for cell in line.split("│")[1:-1]) for line in printed.splitlines()}
    assert ("warm", "us", "1", "100.0 / 100.0", "300.0 / 300.0", "100", "4", "3", "0") in rows
    assert ("us", "100", "1600", "2", "200.0 / 300.0", "20.0 / 30.0", "30", "250") in rows
    assert ("them", "20", "–", "–", "–", "–", "–", "–") in rows
    assert ("us", "2", "15.0 / 20.0", "55.0 / 60.0", "40", "25.0 / 30.0") in rows
    assert ("them", "completion", "3", "2", "4", "3.14", "5") in rows
    assert ("them", "end to end", "23", "", "", "", "") in rows
    sentences = " ".join(printed.split())
    assert "1 rewrites of 10 tokens: 10 tokens/s with drafts, 2.7 without, 3.7 times faster; 60%" in sentences
    assert (
        "of 3 requests 1 called the model, 1 were answered without it (10.0 / 10.0 ms); in all 55.0 / 100.0 ms."
        in sentences
    )
