"""What the engine is doing right now, and telling those who watch. Torch-free; knows no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Phase = Literal["loading", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class Status:
    """One moment.

    Attributes:
        message: for a person.
        progress: in percent, while loading.
        model: the id of the model for completion.
        chat_model: that of the model for chat, often the same.
        limits: once ready, what a person should know of the completion model; empty where there is nothing to say.
    """

    phase: Phase = "loading"
    message: str = "starting"
    progress: int = 0
    model: str = ""
    chat_model: str = ""
    limits: str = ""
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
        self._changed = asyncio.Condition()
        self.status = status

    def post(self, **changes: Any) -> None:
        """Change some of the status and wake the watchers."""
        asyncio.run_coroutine_threadsafe(self._set(changes), self._loop)

    async def watch(self) -> AsyncIterator[Status]:
        """The status now and every later one; changes that come quicker than they are read are merged."""
        seen = None
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self.status is not seen)  # noqa: B023
                seen = self.status
            yield seen

    async def _set(self, changes: dict[str, Any]) -> None:
        async with self._changed:
            self.status = replace(self.status, **changes)
            self._changed.notify_all()
