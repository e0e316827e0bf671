"""What is asked of one generation and what it tells while it runs. Value objects; torch-free."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal

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
class TokenChance:
    """One token of an answer: its bytes, the natural logarithm of its probability, and the likeliest at its place."""

    piece: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TextChunk:
    """Newly generated text that is certain to stay; ``tokens`` are those it was made of, where they were asked for."""

    text: str
    tokens: tuple[TokenChance, ...] = ()


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
