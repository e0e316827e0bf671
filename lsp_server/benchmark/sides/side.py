"""What the bench asks of whoever it measures, and how a streamed answer is timed. Knows no server's own fields.

A side kept busy with a chat while something else is asked of it. Knows what ``Side`` says of chats, no more.
"""

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

from inference.client.sse import event_data

CHAT = "Explain at length, with examples, how a language server and an editor share the work."
CHAT_TOKENS = 500
"""Long, yet over soon where others have to wait for all of it."""


class BenchError(RuntimeError):
    """It can't be measured; one sentence for a person says why, and what to do."""


@dataclass(frozen=True, slots=True)
class TimedRequest:
    """What every side is asked alike: to go on after ``ids``, greedily, with exactly ``tokens`` tokens.

    Attributes:
        document: where the cursor is, for who keeps documents apart.
        drafts: whether several tokens may be guessed and verified at once, by a side of which that can be asked.
        forced: ids that the answer is to begin with, for a side that takes orders; elsewhere how long an answer takes
            does not depend on its words.
        prediction: text that the answer will largely repeat, for a side that can make use of it.
    """

    ids: Sequence[int]
    tokens: int
    document: str = ""
    drafts: bool = True
    forced: tuple[int, ...] = ()
    prediction: str = ""


@dataclass(frozen=True, slots=True)
class TimedAnswer:
    """One answer as a client saw it; times are seconds since it asked.

    Attributes:
        arrivals: when each part came that brought tokens, the first part first.
        counts: how many tokens there were then, in all.
        total: when all had come.
        prompt: tokens of the prompt; ``prefilled``: those the server had to read, None where it doesn't say.
        written: tokens generated; ``accepted``: those of them that were drafted, as far as it says.
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
        """Tokens a second after the first part."""
        return (self.written - self.counts[0]) / max(self.total - self.first, 1e-9)

    def until(self, tokens: int) -> float:
        """Time to the ``tokens``-th token: to the part that brought it, or to all where there are not so many."""
        here = bisect_left(self.counts, tokens)
        return self.arrivals[here] if here < len(self.arrivals) else self.total


class Side(Protocol):
    """One that is measured. ``pid`` is its process, if that is known; ``parallel``: whether it takes many at once.

    ``every``: it is asked each so many-th request of the trace, more than 1 where an answer takes seconds.
    """

    name: str
    pid: int | None
    parallel: bool
    every: int

    async def answer(self, ask: TimedRequest) -> TimedAnswer:
        """Generate what is asked for. Raises ``BenchError``."""
        ...

    async def chat(self) -> AsyncGenerator[None, None]:
        """A long chat answer, one item a part. Raises ``BenchError`` where it doesn't chat."""
        ...
        yield

    async def aclose(self) -> None: ...


@dataclass
class Stopwatch:
    """Times one answer while its parts come."""

    started: float = field(default_factory=time.perf_counter)
    arrivals: list[float] = field(default_factory=list)
    counts: list[int | None] = field(default_factory=list)

    def part(self, tokens: int | None = None) -> None:
        """A part has come; with it there are ``tokens`` in all, if the server says how many."""
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
    ) -> TimedAnswer:
        """All has come. Raises ``BenchError`` where it was not as much as asked for."""
        if not self.arrivals:
            self.part(written)  # tokens without a text, which a server need not tell of before the end
        total = time.perf_counter() - self.started
        if written != ask.tokens:
            raise BenchError(
                f"{name} wrote {written} tokens where {ask.tokens} were asked for, so it can't be compared: "
                "it has to obey 'ignore_eos' or 'min_tokens'."
            )
        arrivals, counts = tuple(self.arrivals), self._counted(written)
        return TimedAnswer(arrivals, counts, total, prompt or len(ask.ids), prefilled, written, accepted)

    def _counted(self, written: int) -> tuple[int, ...]:
        """Where a server doesn't say, its parts are taken to bring equally many."""
        parts = len(self.counts)
        shares = (-(-written * n // parts) for n in range(1, parts + 1))
        return tuple(share if count is None else count for count, share in zip(self.counts, shares, strict=True))


async def streamed(
    http: httpx.AsyncClient, name: str, path: str, body: Mapping[str, Any]
) -> AsyncGenerator[dict[str, Any], None]:
    """The events of a streamed answer as they come. Raises ``BenchError``."""
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
        raise BenchError(f"{name} has gone ({type(error).__name__}): look at its log.") from error


async def _events(response: httpx.Response) -> AsyncGenerator[dict[str, Any], None]:
    async for data in event_data(response):
        if data != "[DONE]":
            yield json.loads(data)


def _refusal(name: str, path: str, status: int, body: bytes) -> str:
    try:
        said = json.loads(body)["error"]
        reason = said["message"] if isinstance(said, dict) else str(said)
    except (ValueError, KeyError, TypeError):
        reason = f"HTTP status {status}"
    hint = (
        ": the bench needs a server that takes token ids as a prompt" if path.endswith(("completion", "ions")) else ""
    )
    return f"{name} refused {path} ({reason.strip().rstrip('.')}){hint}."


UNDISTURBED = 24
"""Parts of the first answer that are waited for."""


class NoChatError(BenchError):
    """The side doesn't chat, or not with this model."""


@asynccontextmanager
async def chatting(side: Side) -> AsyncIterator[list[float]]:
    """While a long chat answer is being written, over and over.

    Begins when its first parts are there, and gives the seconds between them. Raises ``NoChatError``.
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
                if len(arrivals) == UNDISTURBED and not begun.done():
                    begun.set_result(_between(arrivals))
        if not arrivals:
            raise BenchError(f"{side.name} answered a chat with nothing.")
        if not begun.done():
            begun.set_result(_between(arrivals))


def _between(arrivals: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(arrivals)]
