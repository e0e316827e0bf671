"""The private memory of processes over time, sampled every second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from statistics import median

import psutil

SAMPLE_SECONDS = 1.0


@asynccontextmanager
async def sampled(pids: Callable[[], Sequence[int]]) -> AsyncIterator[dict[int, list[int]]]:
    """Yield the samples in bytes by pid. Raises at the end if one of the processes has ended meanwhile."""
    samples: dict[int, list[int]] = {}
    sampling = asyncio.ensure_future(_sample(pids, samples))
    try:
        yield samples
    finally:
        sampling.cancel()
        with suppress(asyncio.CancelledError):
            await sampling


def private_bytes(pid: int) -> int:
    """Return the unique set size of a process: the memory that its end would free."""
    return psutil.Process(pid).memory_full_info().uss


def growth(samples: Sequence[int]) -> float:
    """Return the relative growth in the second half: the median of its last tenth against that of its first tenth."""
    half = samples[len(samples) // 2 :]
    tenth = max(len(half) // 10, 1)
    return median(half[-tenth:]) / median(half[:tenth]) - 1


async def _sample(pids: Callable[[], Sequence[int]], samples: dict[int, list[int]]) -> None:
    while True:
        for pid in pids():
            samples.setdefault(pid, []).append(private_bytes(pid))
        await asyncio.sleep(SAMPLE_SECONDS)
