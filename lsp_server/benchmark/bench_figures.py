"""Figures from samples: medians, 95th percentiles, rates, and ratios of paired requests.

Times are milliseconds here. A ratio above 1 means that our side is that many times faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from statistics import mean, median
from typing import Any

from lsp_server.benchmark.editing_trace import KINDS
from lsp_server.benchmark.end_to_end import EndToEndCompletion
from lsp_server.benchmark.scenarios import Results, Sample, Waits
from lsp_server.benchmark.sides.side import TimedCompletion
from lsp_server.usage_statistics.usage_figures import percentile

ALL = "all"
"""All requests of the trace."""

SHOWN = (ALL, *KINDS, "unseen", "rewrite")
"""Kinds of requests in the order of the report."""


def figures(results: Results, ours: str) -> dict[str, Any]:
    """Return all figures as JSON: ``sides`` by name, ``ratios`` by rival, ``rewrites``, ``felt`` (end to end)."""
    names = list(dict.fromkeys(sample.side for sample in results.samples))
    rivals = [name for name in names if name != ours]
    return {
        "sides": {name: _side(results, name) for name in names},
        "ratios": {name: _ratios(results, ours, name) for name in rivals},
        "rewrites": _rewrites(results, ours),
        "felt": _felt(results, rivals) if results.felt else None,
    }


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Return median and 95th percentile in milliseconds."""
    return {"p50": _ms(median(seconds)), "p95": _ms(percentile(seconds, 0.95))}


def _side(results: Results, name: str) -> dict[str, Any]:
    of = {kind: _answers(results, name, kind) for kind in (*SHOWN, "decode")}
    waits, streams = results.waits.get(name), results.streams.get(name)
    return {
        "requests": {kind: _times(of[kind]) for kind in SHOWN if of[kind]},
        "decode_tokens_per_second": _median((a.decode_rate for a in of["decode"]), 1),
        "prefill_tokens_per_second": _median((a.prefilled / a.first for a in of["unseen"] if a.prefilled), 1),
        "streams": _streams(streams) if streams else None,
        "wait_ms": _waits(waits) if waits else None,
        "peak_memory_mb": round(results.peaks[name] / 1e6) if name in results.peaks else None,
    }


def _times(answers: Sequence[TimedCompletion]) -> dict[str, Any]:
    read = [a.prefilled for a in answers if a.prefilled is not None]
    return {
        "count": len(answers),
        "first_token_ms": spread([a.first for a in answers]),
        "line_ms": spread([a.total for a in answers]),
        "prompt_tokens": round(mean(a.prompt for a in answers), 1),
        "prefilled_tokens": round(mean(read), 1) if read else None,
        "answer_tokens": round(mean(a.written for a in answers), 1),
        "drafted_tokens": round(mean(a.accepted for a in answers), 1),
    }


def _streams(answers: Sequence[TimedCompletion]) -> dict[str, Any]:
    """Return first-token times of concurrent requests and the gaps between parts."""
    gaps = [later - earlier for answer in answers for earlier, later in pairwise(answer.arrivals)] or [0.0]
    return {
        "count": len(answers),
        "first_token_ms": spread([a.first for a in answers]),
        "gap_ms": spread(gaps) | {"max": _ms(max(gaps))},
    }


def _waits(waits: Waits) -> dict[str, Any]:
    """Compare waits; ``longer_p95`` is the 95th percentile during a chat minus that on an idle server."""
    idle, busy = spread(waits.idle), spread(waits.busy)
    return {
        "count": len(waits.busy),
        "idle": idle,
        "during_chat": busy,
        "longer_p95": round(busy["p95"] - idle["p95"], 1),
        "chat_step": spread(waits.steps) if waits.steps else None,
    }


def _ratios(results: Results, ours: str, rival: str) -> dict[str, Any]:
    """Return medians of ratios of pairs: the same request, sent to both in turn."""

    def of(kind: str, figure: Callable[[TimedCompletion], float]) -> float | None:
        mine = {(s.kind, s.request): figure(s.answer) for s in _samples(results, ours, kind)}
        pairs = [(mine[s.kind, s.request], figure(s.answer)) for s in _samples(results, rival, kind)]
        return _median((theirs / max(own, 1e-9) for own, theirs in pairs), 2)

    kinds = [kind for kind in SHOWN if _samples(results, rival, kind)]
    return {
        "first_token": {kind: of(kind, lambda a: a.first) for kind in kinds},
        "line": {kind: of(kind, lambda a: a.total) for kind in kinds},
        "line_p95": {kind: _of_p95(results, ours, rival, kind) for kind in kinds},
        "decode": of("decode", lambda a: 1 / a.decode_rate),
    }


def _of_p95(results: Results, ours: str, rival: str, kind: str) -> float:
    """Return the ratio of 95th percentiles over requests that both sides got."""
    asked = {(s.kind, s.request): s.answer.total for s in _samples(results, rival, kind)}
    own = [s.answer.total for s in _samples(results, ours, kind) if (s.kind, s.request) in asked]
    return round(percentile(list(asked.values()), 0.95) / max(percentile(own, 0.95), 1e-9), 2)


def _rewrites(results: Results, ours: str) -> dict[str, Any] | None:
    """Compare rewrites with and without drafts: tokens per second, prefill included, and speed-up."""
    drafted, plain = (
        {s.request: s.answer for s in _samples(results, ours, kind)} for kind in ("rewrite", "plain rewrite")
    )
    if not drafted:
        return None
    return {
        "count": len(drafted),
        "answer_tokens": round(mean(a.written for a in drafted.values()), 1),
        "drafted_share": round(sum(a.accepted for a in drafted.values()) / sum(a.written for a in drafted.values()), 3),
        "tokens_per_second": _median((a.written / a.total for a in drafted.values()), 1),
        "plain_tokens_per_second": _median((a.written / a.total for a in plain.values()), 1),
        "times_faster": _median((plain[n].total / max(a.total, 1e-9) for n, a in drafted.items()), 2),
    }


def _felt(results: Results, rivals: Sequence[str]) -> dict[str, Any]:
    """Summarise end-to-end requests that showed a completion or called the model.

    A rival's time counts only up to the last token of the server's completion, and only to the first token where the
    server did not call the model.
    """
    felt = {n: one for n, one in results.felt.items() if one.shown or one.tokens is not None}
    avoided = [one for one in results.felt.values() if one.known]
    return {
        "requests": len(results.felt),
        "answered": len(felt),
        "calls": sum(one.tokens is not None for one in felt.values()),
        "calls_avoided": len(avoided),
        "ms": spread([one.total for one in felt.values()]) if felt else None,
        "without_model_ms": spread([one.total for one in avoided]) if avoided else None,
        "ratios": {name: _felt_ratios(results, felt, name) for name in rivals} if felt else {},
    }


def _felt_ratios(results: Results, felt: dict[int, EndToEndCompletion], rival: str) -> dict[str, float | None]:
    """Return the ``median`` ratio of pairs, the ratio of 95th percentiles and that of total times (``whole``)."""
    theirs = {s.request: s.answer for s in _samples(results, rival, ALL)}
    pairs = [(one.total, theirs[n].until(one.tokens or 1)) for n, one in felt.items() if n in theirs]
    if not pairs:
        return {"median": None, "p95": None, "whole": None}
    own, other = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return {
        "median": _median((b / max(a, 1e-9) for a, b in pairs), 2),
        "p95": round(percentile(other, 0.95) / max(percentile(own, 0.95), 1e-9), 2),
        "whole": round(sum(other) / max(sum(own), 1e-9), 2),
    }


def _samples(results: Results, name: str, kind: str) -> list[Sample]:
    kinds = KINDS if kind == ALL else (kind,)
    return [sample for sample in results.samples if sample.side == name and sample.kind in kinds]


def _answers(results: Results, name: str, kind: str) -> list[TimedCompletion]:
    return [sample.answer for sample in _samples(results, name, kind)]


def _median(values: Iterable[float], digits: int) -> float | None:
    numbers = list(values)
    return round(median(numbers), digits) if numbers else None


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
