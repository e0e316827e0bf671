"""Clocks and timers that tests advance by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any


class ManualClock:
    """A clock in seconds, with replacements for asyncio's ``wait_for`` and ``sleep``.

    ``waits`` are the durations of all waits, in order; None is forever.
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
        """Advance the clock and return without waiting."""
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class ManualTimers:
    """A replacement for an event loop's ``call_later``; ``advance`` runs what is due."""

    def __init__(self) -> None:
        self.now = 0.0
        self._waiting: list[ManualTimer] = []

    def __call__(self, seconds: float, action: Callable[[], None]) -> ManualTimer:
        self._waiting.append(ManualTimer(self.now + seconds, action))
        return self._waiting[-1]

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self._waiting if timer.at <= self.now]
        self._waiting = [timer for timer in self._waiting if timer.at > self.now]
        for timer in due:
            if not timer.cancelled:
                timer.action()


@dataclass
class ManualTimer:
    """A timer of ``ManualTimers``."""

    at: float
    action: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True
