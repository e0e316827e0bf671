"""Cancel asyncio tasks. Pure asyncio.

How long to wait before an engine that died is started again. Pure but for the clock it is given.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any


def cancel_once(task: asyncio.Future[Any] | concurrent.futures.Future[Any]) -> None:
    """Cancel a task unless it is being cancelled already.

    A second cancellation interrupts what the task does about the first: closing the connection to the engine, which
    would go on writing for nobody. Editors cancel a request, and end what it was for, in two messages.
    """
    if not (isinstance(task, asyncio.Task) and task.cancelling()):
        task.cancel()


FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds between attempts; doubled from one to the other while the engine keeps dying."""

CALM = 60.0
"""Seconds that an engine has to serve for its death not to count as one more of the same."""


class BackOff:
    """Counts the deaths that came quickly, one after the other."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pause = FIRST_PAUSE
        self._ready_at: float | None = None

    def ready(self) -> None:
        """The engine can answer."""
        if self._ready_at is None:
            self._ready_at = self._clock()

    def pause(self) -> float:
        """The engine has died: seconds to wait now."""
        if self._ready_at is not None and self._clock() - self._ready_at >= CALM:
            self._pause = FIRST_PAUSE
        self._ready_at = None
        now, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        return now
