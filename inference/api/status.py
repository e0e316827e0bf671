"""What the engine is doing right now, and telling those who watch. Torch-free; knows no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Phase = Literal["loading", "ready", "idle", "failed", "retiring", "stopping"]
"""Idle: the weights were unloaded, and the next request loads them. Retiring and stopping: it answers what it has
begun and leaves, for an engine of another version to take its place, or because a person said so."""

ANSWERING: tuple[Phase, ...] = ("ready", "idle")

LEAVING: tuple[Phase, ...] = ("retiring", "stopping")


@dataclass(frozen=True, slots=True)
class Status:
    """One moment.

    Attributes:
        message: for a person.
        progress: in percent, while loading.
        model: the id of the model for completion.
        chat_model: that of the model for chat, often the same.
        limits: once ready, what a person should know of the completion model; empty where there is nothing to say.
        crash: how the engine before this one ended, where that was not in order; empty where it was.
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
        """Ids of what is loaded, or being loaded."""
        return {self.model, self.chat_model} - {""}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class StatusBoard:
    """The current status and a way to wait for the next. Lives on the event loop; ``post`` may come from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, status: Status) -> None:
        self._loop = loop
        self._changed = asyncio.Event()
        self._closed = False
        self.status = status

    def set(self, **changes: Any) -> None:
        """Change some of the status at once and wake the watchers. On the event loop only."""
        self.status = replace(self.status, **changes)
        self._changed.set()
        self._changed = asyncio.Event()

    def post(self, **changes: Any) -> None:
        """``set``, soon."""
        self._loop.call_soon_threadsafe(lambda: self.set(**changes))

    def close(self) -> None:
        """No other status will come: who watches is done. On the event loop only."""
        self._closed = True
        self._changed.set()

    async def watch(self) -> AsyncIterator[Status]:
        """The status now and every later one, until there is none; changes that come quicker than they are read are
        merged.
        """
        seen = None
        while True:
            while self.status is seen:
                if self._closed:
                    return
                await self._changed.wait()
            seen = self.status
            yield seen
