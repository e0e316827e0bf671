"""How much memory processes take at most, watched while something runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import psutil

EVERY_SECONDS = 0.25


@asynccontextmanager
async def peaks(pids: Iterable[int]) -> AsyncIterator[dict[int, int]]:
    """Bytes of resident memory by process, the largest seen so far. One that may not be looked at is left out."""
    seen: dict[int, int] = {}
    watching = asyncio.ensure_future(_watch(list(pids), seen))
    try:
        yield seen
    finally:
        watching.cancel()


async def _watch(pids: list[int], seen: dict[int, int]) -> None:
    while True:
        for pid in pids:
            try:
                seen[pid] = max(seen.get(pid, 0), psutil.Process(pid).memory_info().rss)
            except psutil.Error:
                continue
        await asyncio.sleep(EVERY_SECONDS)
