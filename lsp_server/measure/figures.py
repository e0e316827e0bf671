"""From samples to figures: medians, 95th percentiles, rates, and ratios of what was asked in pairs. Pure.

Times are milliseconds here. A ratio above 1 says that we were so many times faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import mean, median
from typing import Any

from lsp_server.measure.scenarios import Results, Sample
from lsp_server.measure.sides.side import Answer
from lsp_server.measure.trace import KINDS

ALL = "all"
"""The whole trace, whatever the kind of its requests."""


def figures(results: Results, ours: str) -> dict[str, Any]:
    """Everything that is printed, ready for JSON: ``sides`` by name, ``ratios`` by rival, ``felt``."""
    names = list(dict.fromkeys(sample.side for sample in results.samples))
    rivals = [name for name in names if name != ours]
    return {
        "sides": {name: _side(results, name) for name in names},
        "ratios": {name: _ratios(results, ours, name) for name in rivals},
        "felt": _felt(results, rivals) if results.felt else None,
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that at least this share of them does not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(-(-len(ranked) * round(share * 100) // 100), 1) - 1]


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile, in milliseconds."""
    return {"p50": _ms(median(seconds)), "p95": _ms(percentile(seconds, 0.95))}


def _side(results: Results, name: str) -> dict[str, Any]:
    of = {kind: _answers(results, name, kind) for kind in (ALL, *KINDS, "unseen", "decode")}
    waits = results.waits.get(name)
    gaps = results.gaps.get(name)
    return {
        "requests": {kind: _times(of[kind]) for kind in (ALL, *KINDS, "unseen") if of[kind]},
        "decode_tokens_per_second": _median((a.decode_rate for a in of["decode"]), 1),
        "prefill_tokens_per_second": _median((a.prefilled / a.first for a in of["unseen"] if a.prefilled), 1),
        "jitter_ms": spread(gaps) | {"max": _ms(max(gaps))} if gaps else None,
        "wait_ms": {"idle": spread(waits[0]), "during_chat": spread(waits[1])} if waits else None,
        "peak_memory_mb": round(results.peaks[name] / 1e6) if name in results.peaks else None,
    }


def _times(answers: Sequence[Answer]) -> dict[str, Any]:
    read = [a.prefilled for a in answers if a.prefilled is not None]
    return {
        "count": len(answers),
        "first_token_ms": spread([a.first for a in answers]),
        "line_ms": spread([a.total for a in answers]),
        "prompt_tokens": round(mean(a.prompt for a in answers), 1),
        "prefilled_tokens": round(mean(read), 1) if read else None,
    }


def _ratios(results: Results, ours: str, rival: str) -> dict[str, Any]:
    """Medians of ratios of pairs: the same request, asked of both one right after the other."""

    def of(kind: str, figure: Callable[[Answer], float]) -> float | None:
        mine = {(s.kind, s.request): figure(s.answer) for s in _samples(results, ours, kind)}
        pairs = [(mine[s.kind, s.request], figure(s.answer)) for s in _samples(results, rival, kind)]
        return _median((theirs / max(own, 1e-9) for own, theirs in pairs), 2)

    kinds = [kind for kind in (ALL, *KINDS, "unseen") if _samples(results, rival, kind)]
    return {
        "first_token": {kind: of(kind, lambda a: a.first) for kind in kinds},
        "line": {kind: of(kind, lambda a: a.total) for kind in kinds},
        "line_p95": {kind: _of_p95(results, ours, rival, kind) for kind in kinds},
        "decode": of("decode", lambda a: 1 / a.decode_rate),
    }


def _of_p95(results: Results, ours: str, rival: str, kind: str) -> float:
    own, theirs = (percentile([a.total for a in _answers(results, name, kind)], 0.95) for name in (ours, rival))
    return round(theirs / max(own, 1e-9), 2)


def _felt(results: Results, rivals: Sequence[str]) -> dict[str, Any]:
    """Requests for which the language server had something, or asked the model for it.

    A rival is charged only up to the token that the server's answer ended with, and where the model was not asked
    only for its first token.
    """
    felt = {n: one for n, one in results.felt.items() if one.shown or one.tokens is not None}
    avoided = [one for one in felt.values() if one.tokens is None]
    ratios = {name: _felt_ratio(results, felt, name) for name in rivals}
    return {
        "requests": len(results.felt),
        "answered": len(felt),
        "calls_avoided": len(avoided),
        "ms": spread([one.total for one in felt.values()]) if felt else None,
        "ratios": ratios,
    }


def _felt_ratio(results: Results, felt: dict[int, Any], rival: str) -> float | None:
    pairs = [(felt[s.request], s.answer) for s in _samples(results, rival, ALL) if s.request in felt]
    return _median((answer.until(one.tokens or 1) / max(one.total, 1e-9) for one, answer in pairs), 2)


def _samples(results: Results, name: str, kind: str) -> list[Sample]:
    kinds = KINDS if kind == ALL else (kind,)
    return [sample for sample in results.samples if sample.side == name and sample.kind in kinds]


def _answers(results: Results, name: str, kind: str) -> list[Answer]:
    return [sample.answer for sample in _samples(results, name, kind)]


def _median(values: Iterable[float], digits: int) -> float | None:
    found = list(values)
    return round(median(found), digits) if found else None


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
