"""The engine's status, and a board that publishes its changes. Torch-free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Phase = Literal["loading", "ready", "idle", "failed", "retiring", "stopping"]
"""``idle``: the weights are unloaded, and the next request loads them. ``retiring`` and ``stopping``: the engine
finishes its current requests and exits, to be replaced by another version or because the user stopped it."""

ANSWERING: tuple[Phase, ...] = ("ready", "idle")
"""Phases in which the engine accepts requests."""

LEAVING: tuple[Phase, ...] = ("retiring", "stopping")
"""Phases of a graceful shutdown."""


@dataclass(frozen=True, slots=True)
class Status:
    """Status of the engine at one moment.

    Attributes:
        phase: see ``Phase``.
        message: description for the user.
        progress: percent of the weights, while loading.
        model: id of the model for completion.
        chat_model: id of the model for chat, often the same.
        limits: a note about the completion model for the user, once ready; empty if there is none.
        crash: why the engine before this one crashed; empty if it did not.
        version: version of the engine's program.
        pid: the engine's process id.
    """

    phase: Phase = "loading"
    message: str = "starting"
    progress: int = 0
    model: str = ""
    chat_model: str = ""
    limits: str = ""
    crash: str = ""
    version: str = ""
    pid: int = 0

    @property
    def models(self) -> set[str]:
        """Return the ids of the models that are loaded or being loaded."""
        return {self.model, self.chat_model} - {""}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class StatusBoard:
    """Hold the current status and publish changes. Use it on the event loop; ``post`` works from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, status: Status) -> None:
        self._loop = loop
        self._changed = asyncio.Event()
        self._closed = False
        self.status = status

    def set(self, **changes: Any) -> None:
        """Change fields of the status and wake the watchers. On the event loop only."""
        self.status = replace(self.status, **changes)
        self._changed.set()
        self._changed = asyncio.Event()

    def post(self, **changes: Any) -> None:
        """Schedule ``set`` on the event loop. From any thread."""
        self._loop.call_soon_threadsafe(lambda: self.set(**changes))

    def close(self) -> None:
        """End all watches after the last status. On the event loop only."""
        self._closed = True
        self._changed.set()

    async def watch(self) -> AsyncIterator[Status]:
        """Yield the current status and each later one until ``close``.

        Changes that come faster than they are read are merged.
        """
        seen = None
        while True:
            while self.status is seen:
                if self._closed:
                    return
                await self._changed.wait()
            seen = self.status
            yield seen
