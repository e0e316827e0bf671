"""What is asked of one generation and what it tells while it runs. Value objects; torch-free.

How an answer went, in OpenAI's words and back: finish reason, usage, and our own timings. Torch-free; pure.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Literal, get_args

Cause = Literal["end", "rule", "suffix", "stop", "length", "deadline"]
"""Why a generation ended: the model's own end token, the stop rule, the suffix, a stop string, ``max_tokens``, time."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen, and how long an answer may be. Temperature 0 is greedy.

    Until ``min_tokens`` the model may not choose to end (as in vLLM); stop rules and stop strings end it all the same.
    ``prediction`` is text that the answer may largely repeat, such as code to be rewritten. It makes the answer come
    sooner, never another one. Without ``drafts`` every step decodes one token: the same answer, to measure what drafts
    gain. An answer that is ``forced`` begins with these ids, whatever the model would say: to measure known answers.
    With ``logprobs`` each token comes with its own and those of as many likeliest others.
    """

    max_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    min_tokens: int = 0
    prediction: str = ""
    drafts: bool = True
    forced: tuple[int, ...] = ()
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one generation went: milliseconds and tokens. ``reused`` prompt tokens did not have to be read again.

    Of the tokens that were drafted, the answer has the ``accepted`` ones. Of a conversation too long for the context
    the oldest messages were ``dropped``; a question too long by itself was ``cut`` in its middle;
    where it is far too long, ``cut`` counts only what was encoded.
    """

    cause: Cause
    prompt_tokens: int = 0
    reused_tokens: int = 0
    completion_tokens: int = 0
    accepted_tokens: int = 0
    rejected_tokens: int = 0
    dropped_messages: int = 0
    cut_tokens: int = 0
    queued_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class TokenProbability:
    """One token of an answer: its bytes, the natural logarithm of its probability, and the likeliest at its place."""

    piece: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TextChunk:
    """Newly generated text that is certain to stay; ``tokens`` are those it was made of, where they were asked for."""

    text: str
    tokens: tuple[TokenProbability, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a generation that went well; ``adapter`` is the one it was written under, empty for none."""

    outcome: Outcome
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The last event of one that did not; the message is for the person who waits.

    ``param`` names the field of the request that is to blame, if one is.
    """

    message: str
    kind: str = "server_error"
    param: str | None = None


Event = TextChunk | Finished | Failed

Steps = Generator[Event | None, None, None]
"""One answer under way: each ``next()`` is one step of the model, and None one with nothing to tell."""


def without_leading_space(steps: Steps) -> Steps:
    """The same answer without one space in front: a chat model's first token brings one that is no part of it."""
    begun = False
    with closing(steps):
        for event in steps:
            if isinstance(event, TextChunk) and not begun:
                begun, text = True, event.text.removeprefix(" ")
                yield replace(event, text=text) if text else None
            else:
                yield event


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
