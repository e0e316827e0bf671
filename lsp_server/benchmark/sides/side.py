"""A side of the benchmark: its interface, the timing of a streamed completion, and a chat that keeps a side busy."""

from __future__ import annotations

import asyncio
import json
import time
from bisect import bisect_left
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import httpx

from inference.api.engine_errors import CodeLlamaError
from inference.client.openai_stream import event_data

CHAT = "Explain at length, with examples, how a language server and an editor share the work."
CHAT_TOKENS = 500
"""A long response, yet short enough where other requests must wait for it."""


class BenchError(CodeLlamaError, RuntimeError):
    """A side can't be measured; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class TimedRequest:
    """A request that every side gets: continue ``ids`` greedily with exactly ``tokens`` tokens.

    Attributes:
        document: the document's name, for sides that cache by document.
        drafts: allow speculative decoding, on sides where a request can choose.
        forced: ids that the completion must begin with, on sides that support it; on others the time does not depend
            on the text.
        prediction: text that the completion will largely repeat, on sides that use predictions.
    """

    ids: Sequence[int]
    tokens: int
    document: str = ""
    drafts: bool = True
    forced: tuple[int, ...] = ()
    prediction: str = ""


@dataclass(frozen=True, slots=True)
class TimedCompletion:
    """One completion as the client sees it; times are seconds since the request.

    Attributes:
        arrivals: time of each part with tokens.
        counts: total tokens after each part.
        total: time of the end.
        prompt: prompt tokens; ``prefilled``: those not cached, None if the server doesn't report them.
        written: generated tokens; ``accepted``: accepted draft tokens among them, if reported.
    """

    arrivals: tuple[float, ...]
    counts: tuple[int, ...]
    total: float
    prompt: int
    prefilled: int | None
    written: int
    accepted: int = 0

    @property
    def first(self) -> float:
        """Time to the first token."""
        return self.arrivals[0]

    @property
    def decode_rate(self) -> float:
        """Tokens per second after the first part."""
        return (self.written - self.counts[0]) / max(self.total - self.first, 1e-9)

    def until(self, tokens: int) -> float:
        """Return the time to the part with the ``tokens``-th token, or ``total`` if there are fewer."""
        here = bisect_left(self.counts, tokens)
        return self.arrivals[here] if here < len(self.arrivals) else self.total


class Side(Protocol):
    """A program under measurement.

    Attributes:
        pid: its process, if known.
        parallel: it takes concurrent requests.
        every: it gets every n-th request of the trace; more than 1 where a completion takes seconds.
    """

    name: str
    pid: int | None
    parallel: bool
    every: int

    async def answer(self, ask: TimedRequest) -> TimedCompletion:
        """Generate a completion. Raises ``BenchError``."""
        ...

    async def chat(self) -> AsyncGenerator[None, None]:
        """Stream a long chat response, one item a part. Raises ``BenchError`` if it has no chat."""
        ...
        yield

    async def aclose(self) -> None: ...


@dataclass
class Stopwatch:
    """Times one completion while its parts arrive."""

    started: float = field(default_factory=time.perf_counter)
    arrivals: list[float] = field(default_factory=list)
    counts: list[int | None] = field(default_factory=list)

    def part(self, tokens: int | None = None) -> None:
        """Record a part; ``tokens`` is the total so far, if the server reports it."""
        self.arrivals.append(time.perf_counter() - self.started)
        self.counts.append(tokens)

    def answer(
        self,
        name: str,
        ask: TimedRequest,
        written: int,
        *,
        prompt: int = 0,
        prefilled: int | None = None,
        accepted: int = 0,
    ) -> TimedCompletion:
        """Finish timing. Raises ``BenchError`` if the number of tokens is not the requested one."""
        if not self.arrivals:
            self.part(written)  # tokens without text, reported only at the end
        total = time.perf_counter() - self.started
        if written != ask.tokens:
            raise BenchError(
                f"{name} generated {written} tokens instead of {ask.tokens}, so it can't be compared. "
                "Use a server that obeys 'ignore_eos' or 'min_tokens'."
            )
        arrivals, counts = tuple(self.arrivals), self._counted(written)
        return TimedCompletion(arrivals, counts, total, prompt or len(ask.ids), prefilled, written, accepted)

    def _counted(self, written: int) -> tuple[int, ...]:
        """Return tokens after each part; parts without a count are taken to have equally many."""
        parts = len(self.counts)
        shares = (-(-written * n // parts) for n in range(1, parts + 1))
        return tuple(share if count is None else count for count, share in zip(self.counts, shares, strict=True))


async def stream_events(
    http: httpx.AsyncClient, name: str, path: str, body: Mapping[str, Any]
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the events of a streamed response. Raises ``BenchError``."""
    try:
        async with http.stream("POST", path, json=body) as response:
            if response.status_code != 200:
                raise BenchError(_refusal(name, path, response.status_code, await response.aread()))
            async with aclosing(_events(response)) as events:
                async for event in events:
                    if "error" in event:
                        raise BenchError(f"{name} failed: {event['error'].get('message', event['error'])}")
                    yield event
    except httpx.HTTPError as error:
        raise BenchError(f"{name} closed the connection ({type(error).__name__}). See its log.") from error


async def _events(response: httpx.Response) -> AsyncGenerator[dict[str, Any], None]:
    async for data in event_data(response):
        if data != "[DONE]":
            yield json.loads(data)


def _refusal(name: str, path: str, status: int, body: bytes) -> str:
    try:
        detail = json.loads(body)["error"]
        reason = detail["message"] if isinstance(detail, dict) else str(detail)
    except (ValueError, KeyError, TypeError):
        reason = f"HTTP status {status}"
    hint = (
        ": the benchmark needs a server that takes token ids as a prompt"
        if path.endswith(("completion", "ions"))
        else ""
    )
    return f"{name} refused {path} ({reason.strip().rstrip('.')}){hint}."


WARM_UP_PARTS = 24
"""Parts of the first response before the measurement begins."""


class NoChatError(BenchError):
    """The side has no chat, or not with this model."""


@asynccontextmanager
async def busy_with_chat(side: Side) -> AsyncIterator[list[float]]:
    """Keep a side busy with long chat responses, one after the other.

    Yields the seconds between the first parts, once they have arrived. Raises ``NoChatError``.
    """
    begun: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()
    talking = asyncio.ensure_future(_talk(side, begun))
    try:
        await asyncio.wait((begun, talking), return_when=asyncio.FIRST_COMPLETED)
        if not begun.done():
            raise NoChatError(str(talking.exception())) from talking.exception()
        yield begun.result()
    finally:
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)


async def _talk(side: Side, begun: asyncio.Future[list[float]]) -> None:
    while True:
        arrivals: list[float] = []
        async with aclosing(side.chat()) as parts:
            async for _ in parts:
                arrivals.append(time.perf_counter())
                if len(arrivals) == WARM_UP_PARTS and not begun.done():
                    begun.set_result(_between(arrivals))
        if not arrivals:
            raise BenchError(f"{side.name} sent an empty chat response.")
        if not begun.done():
            begun.set_result(_between(arrivals))


def _between(arrivals: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(arrivals)]
