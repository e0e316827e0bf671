"""Time that passes when a test says so: nothing in a test waits for a real clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any


class HandClock:
    """Call it for the time in seconds; ``advance`` lets some pass. Also in place of ``asyncio``'s waiting functions.

    ``waits`` are the seconds that were asked for, in order; None is for ever.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float | None] = []
        self._moved = asyncio.Event()

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def wait_for(self, awaitable: Awaitable[Any], seconds: float | None) -> Any:
        self.waits.append(seconds)
        waited = asyncio.ensure_future(awaitable)
        until = float("inf") if seconds is None else self.now + seconds
        while self.now < until and not waited.done():
            moved = asyncio.ensure_future(self._moved.wait())
            await asyncio.wait((waited, moved), return_when=asyncio.FIRST_COMPLETED)
            moved.cancel()
        if waited.done():
            return waited.result()
        waited.cancel()
        raise TimeoutError

    async def sleep(self, seconds: float) -> None:
        """Returns at once, and the time has passed: for code that only pauses."""
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class HandTimers:
    """In place of an event loop's ``call_later``: what was to happen happens when ``advance`` says that time passed."""

    def __init__(self) -> None:
        self.now = 0.0
        self._waiting: list[HandTimer] = []

    def __call__(self, seconds: float, action: Callable[[], None]) -> HandTimer:
        self._waiting.append(HandTimer(self.now + seconds, action))
        return self._waiting[-1]

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self._waiting if timer.at <= self.now]
        self._waiting = [timer for timer in self._waiting if timer.at > self.now]
        for timer in due:
            if not timer.cancelled:
                timer.action()


@dataclass
class HandTimer:
    """One of them."""

    at: float
    action: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True
