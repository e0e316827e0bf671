"""Sampling and options of a generation, its events, and its outcome as OpenAI's ``usage``. Torch-free, pure."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Literal, get_args


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """Options that the engine takes with each request.

    Attributes:
        deadline: a ``time.perf_counter()`` value, after which the completion ends as it is.
        adapter: the folder of the LoRA adapter to use, or None.
        client: the editor session that asks, whose share of the KV cache is protected (see ``KVPool``).
    """

    deadline: float | None = None
    adapter: Path | None = None
    client: str = ""


Cause = Literal["end", "rule", "suffix", "stop", "length", "deadline"]
"""Cause of a generation's end: end token, stop rule, text of the suffix, stop string, ``max_tokens``, deadline."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters and limits of one generation.

    Attributes:
        max_tokens: most tokens to generate.
        temperature: 0 for greedy decoding; 1 leaves the model's probabilities as they are.
        top_p: nucleus sampling: share of the probability to sample from, 0 to 1.
        seed: seed of the random numbers; None for a random one.
        stop: strings that end the generation; they are not part of it.
        min_tokens: tokens before which the end token is not allowed, as in vLLM. Stop rules and stop strings still end
            the generation.
        prediction: text that the generation may largely repeat, such as code to be rewritten. It makes it faster and
            changes nothing else.
        drafts: False to decode one token per step, to measure the speedup of drafts. The text is the same.
        forced: token ids that the generation begins with, to measure known texts.
        logprobs: number of the most likely tokens whose log-probabilities come with each token's own; None for no
            log-probabilities at all.
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
    """Summary of one generation.

    Attributes:
        cause: cause of its end.
        prompt_tokens: tokens of the prompt.
        reused_tokens: tokens of the prompt taken from the KV cache.
        completion_tokens: generated tokens.
        accepted_tokens: drafted tokens that are part of the text.
        rejected_tokens: drafted tokens that are not.
        dropped_messages: oldest messages left out because the conversation was too long for the context.
        cut_tokens: tokens cut from the middle of a message that was too long by itself. For a message far too long,
            only its encoded part counts.
        queued_ms: milliseconds from arrival to the first step.
        prefill_ms: milliseconds of computing the prompt.
        decode_ms: milliseconds of generating.
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
    """One generated token and its probability.

    Attributes:
        piece: its bytes, which may end within a character.
        logprob: natural logarithm of its probability.
        top: bytes and log-probability of the most likely tokens at this position, most likely first.
    """

    piece: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TextChunk:
    """Newly generated text that is certain to stay.

    Attributes:
        text: the text.
        tokens: its tokens, if ``Sampling.logprobs`` wants them.
    """

    text: str
    tokens: tuple[TokenProbability, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a successful generation.

    Attributes:
        outcome: summary of the generation.
        adapter: name of the adapter that was used; empty for the base model.
    """

    outcome: Outcome
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The last event of a failed generation.

    Attributes:
        message: description for the user.
        kind: OpenAI's error type.
        param: name of the request's field that caused the failure; None if there is none.
    """

    message: str
    kind: str = "server_error"
    param: str | None = None


Event = TextChunk | Finished | Failed

Steps = Generator[Event | None, None, None]
"""A running generation: each ``next()`` is one step of the model and returns an event, or None."""


def without_leading_space(steps: Steps) -> Steps:
    """Remove one leading space, which a chat model's first token adds to the text."""
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
    """Return OpenAI's finish reason."""
    return "length" if outcome.cause in ("length", "deadline") else "stop"


def usage(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return OpenAI's ``usage`` for all completions of one prompt, which counts once."""
    prompt, generated = outcomes[0].prompt_tokens, sum(one.completion_tokens for one in outcomes)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "prompt_tokens_details": {"cached_tokens": outcomes[0].reused_tokens},
        "completion_tokens_details": {
            "accepted_prediction_tokens": sum(one.accepted_tokens for one in outcomes),
            "rejected_prediction_tokens": sum(one.rejected_tokens for one in outcomes),
        },
    }


def timings(outcome: Outcome) -> dict[str, Any]:
    """Return our own addition to a response: cause of the end, milliseconds, and parts of a chat that were left out."""
    return {
        "cause": outcome.cause,
        "dropped_messages": outcome.dropped_messages,
        "cut_tokens": outcome.cut_tokens,
        "queued_ms": round(outcome.queued_ms, 2),
        "prefill_ms": round(outcome.prefill_ms, 2),
        "decode_ms": round(outcome.decode_ms, 2),
    }


def parse_outcome(reason: str, used: Mapping[str, Any], timed: Mapping[str, Any]) -> Outcome:
    """Parse finish reason, usage and timings. Other servers send no timings; an invalid number counts as 0."""
    named = timed.get("cause")
    cause: Cause = named if named in CAUSES else "length" if reason == "length" else "end"
    drafts = _object(used, "completion_tokens_details")
    return Outcome(
        cause=cause,
        prompt_tokens=_count(used, "prompt_tokens"),
        reused_tokens=_count(_object(used, "prompt_tokens_details"), "cached_tokens"),
        completion_tokens=_count(used, "completion_tokens"),
        accepted_tokens=_count(drafts, "accepted_prediction_tokens"),
        rejected_tokens=_count(drafts, "rejected_prediction_tokens"),
        dropped_messages=_count(timed, "dropped_messages"),
        cut_tokens=_count(timed, "cut_tokens"),
        queued_ms=_time(timed, "queued_ms"),
        prefill_ms=_time(timed, "prefill_ms"),
        decode_ms=_time(timed, "decode_ms"),
    )


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    return value if isinstance(value, Mapping) else {}


def _count(fields: Mapping[str, Any], name: str) -> int:
    count = fields.get(name)
    return count if type(count) is int and count >= 0 else 0


def _time(fields: Mapping[str, Any], name: str) -> float:
    time = fields.get(name)
    return time if isinstance(time, int | float) and 0 <= time < inf else 0.0
