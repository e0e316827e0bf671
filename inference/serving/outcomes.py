"""How an answer went, in OpenAI's words and back: finish reason, usage, and our own timings. Torch-free; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Literal, get_args

from inference.generation.answer import Cause, Outcome

CAUSES: tuple[Cause, ...] = get_args(Cause)


def finish_reason(outcome: Outcome) -> Literal["stop", "length"]:
    """OpenAI knows two ways to end."""
    return "length" if outcome.cause in ("length", "deadline") else "stop"


def usage(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """OpenAI's ``usage`` object of all answers to one prompt, which counts once."""
    prompt, written = outcomes[0].prompt_tokens, sum(one.completion_tokens for one in outcomes)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": outcomes[0].reused_tokens},
        "completion_tokens_details": {
            "accepted_prediction_tokens": sum(one.accepted_tokens for one in outcomes),
            "rejected_prediction_tokens": sum(one.rejected_tokens for one in outcomes),
        },
    }


def timings(outcome: Outcome) -> dict[str, Any]:
    """Our own addition to a finished answer: times, why it ended, and what of a conversation had no room."""
    return {
        "cause": outcome.cause,
        "dropped_messages": outcome.dropped_messages,
        "cut_tokens": outcome.cut_tokens,
        "queued_ms": round(outcome.queued_ms, 2),
        "prefill_ms": round(outcome.prefill_ms, 2),
        "decode_ms": round(outcome.decode_ms, 2),
    }


def parse_outcome(reason: str, used: Mapping[str, Any], timed: Mapping[str, Any]) -> Outcome:
    """Of a finished answer; a foreign server sends no timings, and what is no number there counts as none."""
    told = timed.get("cause")
    cause: Cause = told if told in CAUSES else "length" if reason == "length" else "end"
    drafts = _part(used, "completion_tokens_details")
    return Outcome(
        cause=cause,
        prompt_tokens=_count(used, "prompt_tokens"),
        reused_tokens=_count(_part(used, "prompt_tokens_details"), "cached_tokens"),
        completion_tokens=_count(used, "completion_tokens"),
        accepted_tokens=_count(drafts, "accepted_prediction_tokens"),
        rejected_tokens=_count(drafts, "rejected_prediction_tokens"),
        dropped_messages=_count(timed, "dropped_messages"),
        cut_tokens=_count(timed, "cut_tokens"),
        queued_ms=_time(timed, "queued_ms"),
        prefill_ms=_time(timed, "prefill_ms"),
        decode_ms=_time(timed, "decode_ms"),
    )


def _part(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = told.get(name)
    return part if isinstance(part, Mapping) else {}


def _count(told: Mapping[str, Any], name: str) -> int:
    count = told.get(name)
    return count if type(count) is int and count >= 0 else 0


def _time(told: Mapping[str, Any], name: str) -> float:
    time = told.get(name)
    return time if isinstance(time, int | float) and 0 <= time < inf else 0.0
