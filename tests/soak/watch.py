"""Private memory of processes, sampled every second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from statistics import median

import psutil

EVERY_SECONDS = 1.0


@asynccontextmanager
async def watched(pids: Callable[[], Sequence[int]]) -> AsyncIterator[dict[int, list[int]]]:
    """Sample the private bytes of the processes that ``pids`` returns. Fails if one has ended."""
    seen: dict[int, list[int]] = {}
    watching = asyncio.ensure_future(_watch(pids, seen))
    try:
        yield seen
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def own_bytes(pid: int) -> int:
    """Return the unique set size of a process: memory freed if it ended."""
    return psutil.Process(pid).memory_full_info().uss


def growth(samples: Sequence[int]) -> float:
    """Return the growth of the second half as a share: median of its last tenth against its first."""
    half = samples[len(samples) // 2 :]
    tenth = max(len(half) // 10, 1)
    return median(half[-tenth:]) / median(half[:tenth]) - 1


async def _watch(pids: Callable[[], Sequence[int]], seen: dict[int, list[int]]) -> None:
    while True:
        for pid in pids():
            seen.setdefault(pid, []).append(own_bytes(pid))
        await asyncio.sleep(EVERY_SECONDS)
