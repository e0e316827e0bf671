"""Memory over time: what each process has to itself, looked at every second. Knows only processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from statistics import median

import psutil

EVERY_SECONDS = 1.0


@asynccontextmanager
async def watched(pids: Callable[[], Sequence[int]]) -> AsyncIterator[dict[int, list[int]]]:
    """Bytes, look by look, of each process that ``pids`` names. Fails at the end where one had gone meanwhile."""
    seen: dict[int, list[int]] = {}
    watching = asyncio.ensure_future(_watch(pids, seen))
    try:
        yield seen
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def own_bytes(pid: int) -> int:
    """What would be free if the process ended: pages that no other one maps (its unique set size)."""
    return psutil.Process(pid).memory_full_info().uss


def growth(samples: Sequence[int]) -> float:
    """By how much the second half grew, as a share: the median of its last tenth against that of its first."""
    half = samples[len(samples) // 2 :]
    tenth = max(len(half) // 10, 1)
    return median(half[-tenth:]) / median(half[:tenth]) - 1


async def _watch(pids: Callable[[], Sequence[int]], seen: dict[int, list[int]]) -> None:
    while True:
        for pid in pids():
            seen.setdefault(pid, []).append(own_bytes(pid))
        await asyncio.sleep(EVERY_SECONDS)
