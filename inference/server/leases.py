"""Reference count with a grace period.

The engine process is kept alive by the leases of editor sessions, and the weights in memory by requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from math import isinf
from typing import Any


class Leases:
    """Counts open leases, on the event loop.

    Args:
        grace: seconds from the end of the last lease until ``all_ended`` returns. Infinite: it never returns.
        first: seconds to wait for the first lease, if that is longer than ``grace``. A client on a busy machine
            needs a moment to connect.
        wait_for: ``asyncio.wait_for``, or a replacement in tests.
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
        """Hold a lease while the block runs."""
        self._add(1)
        try:
            yield
        finally:
            self._add(-1)

    async def none_held(self) -> None:
        """Return as soon as no lease is held."""
        while self.held:
            await self._changed.wait()

    async def all_ended(self) -> None:
        """Return when no lease has been held for the grace period."""
        while True:
            changed, grace = self._changed, self._next_grace
            try:
                await self._wait_for(changed.wait(), None if self.held or isinf(grace) else grace)
            except TimeoutError:
                return

    def _add(self, count: int) -> None:
        self.held += count
        self._next_grace = self._grace
        self._changed.set()
        self._changed = asyncio.Event()
