"""This window's link to the shared engine: find or start it, hold a lease, start again when it dies.

Knows no LSP: whoever owns the link is told each status. Never blocks: while there is no ready engine, asking raises;
one that has unloaded its weights is asked all the same, as that makes it load them.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path

from packaging.version import InvalidVersion, Version

import inference
from inference.api.errors import EngineError, EngineSilent, EngineUnavailable
from inference.api.events import Finished, TextChunk
from inference.api.requests import ChatRequest, CompletionRequest
from inference.api.status import ANSWERING, LEAVING, Status
from inference.client.engine_client import SILENT_SECONDS, EngineClient
from inference.client.engine_process import EngineNotStarted, EngineOptions, allow_one_more, ensure_engine
from inference.client.hung_engine import NotEnded, end_if_hung
from inference.system.runtime_folder import NotPrivateError
from lsp_server.concurrency import BackOff

log = logging.getLogger(__name__)

RETRY_AFTER = 5.0
"""Seconds after a failure (say, no model installed) before a request may try anew."""

GIVE_WAY = 1.0
"""Seconds that a window waits after an engine which another one asked to leave: that one is to start the next."""

BROKEN = "The link to the engine broke; the language server's log has the details. The next request tries again."


class LocalEngine:
    """From the language server to the engine of one's own.

    ``find``, ``sleep``, ``clock`` and ``silence``, after which an engine may hang, are given by tests.
    """

    server = ""

    def __init__(
        self,
        options: EngineOptions,
        on_status: Callable[[Status], None],
        find: Callable[[EngineOptions], Awaitable[Path]] = ensure_engine,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        silence: float = SILENT_SECONDS,
    ) -> None:
        self._options = options
        self._on_status = on_status
        self._find, self._sleep, self._silence = find, sleep, silence
        self._backoff = BackOff(clock)
        self._client: EngineClient | None = None
        self._task: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self._lost = self._replacing = False
        self._by_hand = True  # to open a window, or to restart its server, is to ask
        self._window = uuid.uuid4().hex
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
        async with aclosing(self._ready().complete(replace(request, user=self._window))) as events:
            async for event in events:
                yield event

    async def chat(self, request: ChatRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream a chat answer. Raises ``EngineError``, as ``complete`` does.

        Nobody chats by typing on: an engine that kept dying is tried once more.
        """
        self._by_hand = True
        async with aclosing(self._ready().chat(replace(request, user=self._window))) as events:
            async for event in events:
                yield event

    async def chat_context(self) -> int | None:
        """Tokens that a conversation and its answer may have together; None while the weights are unloaded.

        Raises ``EngineError``.
        """
        roles = (await self._ready().stats())["models"].get(self.status.chat_model, {})
        return roles.get("chat") or max(roles.values(), default=None)

    def _ready(self) -> EngineClient:
        self._asked.set()
        if self._client is None or self.status.phase not in ANSWERING:
            raise EngineUnavailable(self.status.message)
        return self._client

    async def _keep(self) -> None:
        while True:
            try:
                await self._hold()
            except (EngineNotStarted, NotPrivateError, NotEnded) as error:
                self._tell(Status(phase="failed", message=str(error)))
            except Exception:
                log.exception("the link to the engine broke")
                self._tell(Status(phase="failed", message=BROKEN))
            if self.status.phase in ("failed", "stopping"):
                await self._until_asked()
            elif self.status.phase == "retiring":
                await self._sleep(0 if self._replacing else GIVE_WAY)
            else:
                self._lost = True
                self._tell(Status(message="the engine has gone; starting it again"))
                await self._sleep(self._backoff.pause())

    async def _hold(self) -> None:
        """Hold a lease until the engine ends, fails or hangs."""
        if self._by_hand:
            self._by_hand = False
            allow_one_more()
        socket = await self._find(self._options)
        client = EngineClient(socket, self._silence)
        try:
            self._client = client
            while not await self._followed(client):
                if await end_if_hung(socket, self._silence / 2):
                    log.warning("ended the engine, which did not answer")
                    break
        finally:
            self._client = None
            await client.aclose()

    async def _followed(self, client: EngineClient) -> bool:
        """Hold a lease until the engine ends or fails; False where it fell silent."""
        try:
            async with aclosing(client.lease()) as statuses:
                async for status in statuses:
                    await self._take(client, status)
                    if self.status.phase == "failed":
                        break
        except EngineSilent:
            return False
        except EngineUnavailable as error:
            log.info("lost the engine: %s", error)
        return True

    async def _take(self, client: EngineClient, status: Status) -> None:
        """A status of the engine's: tell it, with what it means for this window."""
        if status.phase in LEAVING:
            return self._tell(status)
        if _older(status.version) and not self._replacing:
            self._replacing = True
            return await self._replace(client, status)
        if status.phase == "ready":
            self._backoff.ready()
        self._tell(self._checked(status if self._lost else replace(status, crash="")))
        return None

    async def _replace(self, client: EngineClient, status: Status) -> None:
        """Have an engine of an older version leave, once it has answered what it has begun.

        An engine of a newer one is left alone: the window is what is out of date, the wire is standard, and two that
        replace each other's engine would never come to an end. Nor is more than one asked to leave in a window's life.
        """
        log.info("the engine is of version %s, this is %s: asking it to leave", status.version, inference.__version__)
        try:
            await client.retire()
        except EngineUnavailable:
            raise
        except EngineError as error:
            log.warning("it does not leave, and is used as it is: %s", error)
            self._tell(self._checked(status))

    def _checked(self, status: Status) -> Status:
        runs, wanted = (status.model, status.chat_model), self._options.models
        if runs == wanted:
            return status
        text = (
            f"The engine of another window runs {_named(runs)}, this one is set to {_named(wanted)}: set engine.model "
            "and engine.chatModel as there, or end that engine with `codellama-ls engine stop`."
        )
        return replace(status, phase="failed", message=text)

    async def _until_asked(self) -> None:
        await self._sleep(RETRY_AFTER)
        self._asked.clear()
        await self._asked.wait()

    def _tell(self, status: Status) -> None:
        self.status = status
        try:
            self._on_status(status)
        except Exception:
            log.exception("a status could not be shown")


def _older(version: str) -> bool:
    """Is an engine of this version older than what is installed here? One that does not say is taken as it is."""
    try:
        return Version(version) < Version(inference.__version__)
    except InvalidVersion:
        return False


def _named(models: tuple[str, str]) -> str:
    return " and ".join(f"'{model}'" for model in dict.fromkeys(models))
