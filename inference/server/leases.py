"""Who still needs something: it may go some time after the last one has let go of it.

Counts on the event loop and knows neither what is held (the engine by its windows, the weights by requests) nor what
becomes of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from math import isinf
from typing import Any


class Leases:
    """Counts open leases.

    ``grace`` is in seconds, infinite for ever; ``first`` is that before the first lease, where it is to be longer: on a
    busy machine it takes a moment to come. ``wait_for`` is ``asyncio.wait_for``, or what a test has in its place.
    """

    def __init__(
        self,
        grace: float,
        first: float = 0.0,
        wait_for: Callable[[Awaitable[Any], float | None], Awaitable[Any]] = asyncio.wait_for,
    ) -> None:
        self.held = 0
        self._grace, self._next_grace = grace, max(grace, first)
        self._wait_for = wait_for
        self._changed = asyncio.Event()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """A lease for as long as the block runs."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    async def none(self) -> None:
        """Returns as soon as nobody holds one."""
        while self.held:
            await self._changed.wait()

    async def all_ended(self) -> None:
        """Returns when nobody has held one for the time of grace."""
        while True:
            changed, grace = self._changed, self._next_grace
            try:
                await self._wait_for(changed.wait(), None if self.held or isinf(grace) else grace)
            except TimeoutError:
                return

    def _count(self, more: int) -> None:
        self.held += more
        self._next_grace = self._grace
        self._changed.set()
        self._changed = asyncio.Event()
