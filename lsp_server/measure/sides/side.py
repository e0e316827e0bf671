"""What the bench asks of whoever it measures, and how a streamed answer is timed. Knows no server's own fields."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

CHAT = "Explain at length, with examples, how a language server and an editor share the work."
CHAT_TOKENS = 2_000


class BenchError(RuntimeError):
    """It can't be measured; one sentence for a person says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as a client saw it; times are seconds since it asked.

    Attributes:
        arrivals: when each part came that brought tokens, the first part first.
        total: when all had come.
        prompt: tokens of the prompt; ``prefilled``: those the server had to read, None where it doesn't say.
        written: tokens generated.
    """

    arrivals: tuple[float, ...]
    total: float
    prompt: int
    prefilled: int | None
    written: int

    @property
    def first(self) -> float:
        """Time to the first token."""
        return self.arrivals[0]

    @property
    def decode_rate(self) -> float:
        """Tokens a second after the first."""
        return (self.written - 1) / max(self.arrivals[-1] - self.first, 1e-9)

    def until(self, tokens: int) -> float:
        """Time to the ``tokens``-th token, where each part brought one."""
        return self.arrivals[max(min(tokens, len(self.arrivals)), 1) - 1]


class Side(Protocol):
    """One that is measured. ``pid`` is its process, if that is known; ``parallel``: whether it takes many at once."""

    name: str
    pid: int | None
    parallel: bool

    async def answer(self, ids: Sequence[int], tokens: int, document: str = "") -> Answer:
        """Greedily generate exactly ``tokens`` tokens after ``ids``. Raises ``BenchError``."""
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

    def part(self) -> None:
        """A part with tokens has come."""
        self.arrivals.append(time.perf_counter() - self.started)

    def answer(self, name: str, asked: int, prompt: int, prefilled: int | None, written: int) -> Answer:
        """All has come. Raises ``BenchError`` where it was not as much as asked for."""
        if not self.arrivals:
            self.part()  # tokens without a text, which a server need not tell of before the end
        if written != asked:
            raise BenchError(
                f"{name} wrote {written} tokens where {asked} were asked for, so it can't be compared: "
                "it has to obey 'ignore_eos' or 'min_tokens'."
            )
        return Answer(tuple(self.arrivals), time.perf_counter() - self.started, prompt, prefilled, written)


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


@asynccontextmanager
async def chatting(side: Side) -> AsyncIterator[None]:
    """While a long chat answer is being written, over and over; begins when its first part is there."""
    begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    talking = asyncio.ensure_future(_talk(side, begun))
    try:
        await asyncio.wait((begun, talking), return_when=asyncio.FIRST_COMPLETED)
        if talking.done():
            talking.result()
        yield
    finally:
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)


async def _talk(side: Side, begun: asyncio.Future[None]) -> None:
    while True:
        async with aclosing(side.chat()) as parts:
            async for _ in parts:
                if not begun.done():
                    begun.set_result(None)
        if not begun.done():
            raise BenchError(f"{side.name} answered a chat with nothing.")


async def _events(response: httpx.Response) -> AsyncGenerator[dict[str, Any], None]:
    async for line in response.aiter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


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
