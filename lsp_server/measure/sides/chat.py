"""A side kept busy with a chat while something else is asked of it. Knows what ``Side`` says of chats, no more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise

from lsp_server.measure.sides.side import BenchError, Side

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
