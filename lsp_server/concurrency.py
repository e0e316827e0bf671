"""Cancel asyncio tasks; pause with exponential backoff."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds between restarts, doubled from the first to the longest while the engine keeps dying."""

CALM = 60.0
"""Seconds of service after which the pause is reset."""


def cancel_once(task: asyncio.Future[Any] | concurrent.futures.Future[Any]) -> None:
    """Cancel a task unless it is being cancelled already.

    A second cancellation would interrupt the cleanup after the first, which closes the connection to the engine. The
    engine would then go on generating. Editors cancel a request, and end what it was for, in two messages.
    """
    if not (isinstance(task, asyncio.Task) and task.cancelling()):
        task.cancel()


class BackOff:
    """Exponential backoff between restarts of the engine."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pause = FIRST_PAUSE
        self._ready_at: float | None = None

    def ready(self) -> None:
        """Record that the engine is ready."""
        if self._ready_at is None:
            self._ready_at = self._clock()

    def pause(self) -> float:
        """Return the seconds to wait before the next restart. Call it when the engine has died."""
        if self._ready_at is not None and self._clock() - self._ready_at >= CALM:
            self._pause = FIRST_PAUSE
        self._ready_at = None
        now, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        return now
