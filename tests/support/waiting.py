"""Waiting for what nothing signals: a flag of another library's, a message that may have come already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Returns as soon as ``condition`` holds; fails after ``seconds``."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def settle() -> None:
    """Every task does what it can do without waiting for anything from outside the event loop."""
    for _ in range(20):
        await asyncio.sleep(0)
