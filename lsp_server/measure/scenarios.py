"""What is measured, one function a scenario: each request goes to every side in the same run, in alternating order.

So what else the machine does meanwhile hits all sides alike. Knows sides only as such; makes no figures of its samples.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from lsp_server.measure.felt import Felt, Window
from lsp_server.measure.sides.side import Answer, BenchError, Side, chatting
from lsp_server.measure.trace import Request

STREAMS, STREAM_TOKENS = 8, 32
COLD_PROMPT = 800
DECODE_PROMPT, DECODE_TOKENS = 64, 64
TYPED = 3
"""Tokens by which a prompt grows between two completions during a chat."""

Tell = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of one side; ``request`` is the same number for what all sides were asked alike."""

    side: str
    kind: str
    request: int
    answer: Answer


@dataclass
class Results:
    """All that was measured.

    Attributes:
        felt: answers of the language server by the number of their request.
        gaps: seconds between two parts, over all of many streams at once, by side.
        waits: seconds to the first token of a completion, on an idle server and during a chat, by side.
        peaks: bytes of memory by side.
    """

    samples: list[Sample] = field(default_factory=list)
    felt: dict[int, Felt] = field(default_factory=dict)
    gaps: dict[str, list[float]] = field(default_factory=dict)
    waits: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)


async def replay(
    sides: Sequence[Side], trace: Sequence[tuple[Request, list[int]]], tokens: int, into: Results, window: Window | None
) -> None:
    """The editing trace, ``tokens`` tokens an answer."""
    for n, (request, ids) in enumerate(trace):
        await ask_all(sides, ids, tokens, request.kind, n, into, request.document)
        if window:
            into.felt[n] = await window.ask(request)


async def warm_up(sides: Sequence[Side], ids: list[int]) -> None:
    """Once what every first request pays: memory, kernels, connections."""
    for side in sides:
        await side.answer(ids[::-1], 2, "warm-up")


async def ask_all(
    sides: Sequence[Side], ids: list[int], tokens: int, kind: str, n: int, into: Results, document: str = ""
) -> None:
    """One request to every side; who was first is last the next time."""
    for side in sides if n % 2 == 0 else reversed(sides):
        into.samples.append(Sample(side.name, kind, n, await side.answer(ids, tokens, document)))


async def unseen(sides: Sequence[Side], prompts: Sequence[list[int]], tokens: int, into: Results) -> None:
    """Prompts that nobody has read before."""
    for n, ids in enumerate(prompts):
        await ask_all(sides, ids, tokens, "unseen", n, into, f"unseen-{n}")


async def decode(sides: Sequence[Side], prompts: Sequence[list[int]], into: Results) -> None:
    """Long answers to short prompts: the plain greedy loop."""
    for n, ids in enumerate(prompts):
        await ask_all(sides, ids, DECODE_TOKENS, "decode", n, into, f"decode-{n}")


async def streams(sides: Sequence[Side], prompts: Sequence[list[int]], into: Results) -> None:
    """Many answers at once; how evenly their parts come."""
    for side in sides:
        if side.parallel:
            asked = (side.answer(ids, STREAM_TOKENS, f"stream-{n}") for n, ids in enumerate(prompts))
            answers = await asyncio.gather(*asked)
            into.gaps[side.name] = [gap for answer in answers for gap in _gaps(answer)]


async def during_chat(sides: Sequence[Side], text: list[int], count: int, tokens: int, into: Results) -> None:
    """Completions while a person types, first on an idle server, then while it answers a chat at length.

    A side that doesn't chat is passed over.
    """
    half = len(text) - TYPED * 2 * count
    prompts = [text[: half + TYPED * n] for n in range(1, 2 * count + 1)]
    for side in sides:
        if not side.parallel:
            continue
        await side.answer(text[:half], tokens, "chat")
        idle = [(await side.answer(ids, tokens, "chat")).first for ids in prompts[:count]]
        with suppress(BenchError):
            async with chatting(side):
                busy = [(await side.answer(ids, tokens, "chat")).first for ids in prompts[count:]]
            into.waits[side.name] = (idle, busy)


def _gaps(answer: Answer) -> list[float]:
    return [later - earlier for earlier, later in zip(answer.arrivals, answer.arrivals[1:], strict=False)]
