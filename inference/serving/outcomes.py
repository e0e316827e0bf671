"""How an answer went, in OpenAI's words and back: finish reason, usage, and our own timings. Torch-free; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from inference.generation.answer import Cause, Outcome


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
    """Of a finished answer; a foreign server sends no timings."""
    cause: Cause = timed.get("cause") or ("length" if reason == "length" else "end")
    drafts = used.get("completion_tokens_details") or {}
    return Outcome(
        cause=cause,
        prompt_tokens=used.get("prompt_tokens", 0),
        reused_tokens=(used.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        completion_tokens=used.get("completion_tokens", 0),
        accepted_tokens=drafts.get("accepted_prediction_tokens") or 0,
        rejected_tokens=drafts.get("rejected_prediction_tokens") or 0,
        dropped_messages=timed.get("dropped_messages", 0),
        cut_tokens=timed.get("cut_tokens", 0),
        queued_ms=timed.get("queued_ms", 0.0),
        prefill_ms=timed.get("prefill_ms", 0.0),
        decode_ms=timed.get("decode_ms", 0.0),
    )
