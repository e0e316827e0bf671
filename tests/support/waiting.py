"""Polling, for conditions without an event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Return as soon as ``condition`` holds. Raises TimeoutError after ``seconds``."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def settle() -> None:
    """Let every task run as far as it can without I/O or timers."""
    for _ in range(20):
        await asyncio.sleep(0)
