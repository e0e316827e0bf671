"""Who still needs the engine: each window holds a lease; some time after the last one ends, so does the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Leases:
    """Counts open leases on the event loop. ``grace`` is in seconds; it also covers the time before the first lease."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._held = 0
        self._changed = asyncio.Event()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """A lease for as long as the block runs."""
        self._held += 1
        self._changed.set()
        try:
            yield
        finally:
            self._held -= 1
            self._changed.set()

    async def all_ended(self) -> None:
        """Returns when nobody has held a lease for the time of grace."""
        while True:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), None if self._held else self._grace)
            except TimeoutError:
                return
