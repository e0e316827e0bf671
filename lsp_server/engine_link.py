"""This window's link to the shared engine: find or start it, hold a lease, start again when it dies.

Knows no LSP: whoever owns the link is told each status. Never blocks: while there is no ready engine, asking raises.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import replace

from inference.generation.answer import Finished, TextChunk
from inference.serving.client import EngineClient, EngineUnavailable
from inference.serving.private import NotPrivate
from inference.serving.spawn import EngineNotStarted, EngineOptions, ensure_engine
from inference.serving.state import Status
from inference.serving.wire import CompletionRequest

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds between attempts to start an engine again; doubled from one to the other while it keeps dying."""

RETRY_AFTER = 5.0
"""Seconds after a failure (say, no model installed) before a request may try anew."""


class EngineLink:
    """The one way from the language server to a model."""

    def __init__(self, options: EngineOptions, on_status: Callable[[Status], None]) -> None:
        self._options = options
        self._on_status = on_status
        self._client: EngineClient | None = None
        self._task: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self.status = Status()

    def start(self) -> None:
        """Begin to look for, or start, the engine in the background."""
        self._task = asyncio.ensure_future(self._keep())

    async def stop(self) -> None:
        """Give up the lease."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream a completion; raises ``EngineUnavailable`` at once while no engine is ready."""
        self._asked.set()
        if self._client is None or self.status.phase != "ready":
            raise EngineUnavailable(self.status.message)
        async with aclosing(self._client.complete(request)) as events:
            async for event in events:
                yield event

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                was_ready = await self._hold()
            except (EngineNotStarted, NotPrivate) as error:
                self._tell(Status(phase="failed", message=str(error)))
                was_ready = False
            if self.status.phase == "failed":
                await self._until_asked()
                continue
            self._tell(Status(message="the engine has gone; starting it again"))
            pause = FIRST_PAUSE if was_ready else min(pause * 2, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _hold(self) -> bool:
        """Hold a lease until the engine ends or fails; true if it had been ready."""
        client = EngineClient(await ensure_engine(self._options))
        was_ready = False
        try:
            self._client = client
            async with aclosing(client.lease()) as statuses:
                async for status in statuses:
                    self._tell(self._checked(status))
                    was_ready |= self.status.phase == "ready"
                    if self.status.phase == "failed":
                        break
        except EngineUnavailable as error:
            log.info("lost the engine: %s", error)
        finally:
            self._client = None
            await client.aclose()
        return was_ready

    def _checked(self, status: Status) -> Status:
        runs, wanted = (status.model, status.chat_model), self._options.models
        if runs == wanted:
            return status
        text = f"The engine of another window runs {_named(runs)}, this one is set to {_named(wanted)}."
        return replace(status, phase="failed", message=text)

    async def _until_asked(self) -> None:
        await asyncio.sleep(RETRY_AFTER)
        self._asked.clear()
        await self._asked.wait()

    def _tell(self, status: Status) -> None:
        self.status = status
        self._on_status(status)


def _named(models: tuple[str, str]) -> str:
    return " and ".join(f"'{model}'" for model in dict.fromkeys(models))
