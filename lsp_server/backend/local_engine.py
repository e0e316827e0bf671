"""The local engine as a backend: find or start it, hold a lease, restart it when it dies.

An engine that has unloaded its weights still gets requests: they make it load them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from packaging.version import InvalidVersion, Version

import inference
from inference.api.engine_errors import EngineError, EngineSilent, EngineUnavailable
from inference.api.requests import ChatRequest, CompletionRequest
from inference.api.status import ANSWERING, LEAVING, Status
from inference.client.engine_client import SILENT_SECONDS, EngineClient
from inference.client.engine_process import EngineOptions, allow_one_more, ensure_engine
from inference.client.hung_engine import kill_if_hung
from inference.errors import CodeLlamaError
from lsp_server.backend.backend import BackgroundConnection

log = logging.getLogger(__name__)

REPLACE_SECONDS = 1.0
"""Seconds to wait after another session retired the engine: that session starts the next one."""

BROKEN = "The connection to the engine failed. See the language server's log. The next request retries."


class LocalEngine(BackgroundConnection[EngineClient]):
    """Backend that shares the user's engine process with other editor sessions."""

    def __init__(
        self,
        options: EngineOptions,
        on_status: Callable[[Status], None],
        find: Callable[[EngineOptions], Awaitable[Path]] = ensure_engine,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        silence: float = SILENT_SECONDS,
    ) -> None:
        """Tests pass ``find``, ``sleep``, ``clock`` and ``silence``, the seconds after which an engine may hang."""
        super().__init__(on_status, sleep, clock, Status())
        self._options = options
        self._find, self._silence = find, silence
        self._lost = self._replacing = False
        self._user_asked = True  # opening an editor or restarting its server counts

    async def chat_context(self) -> int | None:
        """Return the tokens that a conversation and its response may have together; None without loaded weights.

        Raises ``EngineError``.
        """
        lengths = (await self._connected().stats())["models"].get(self.status.chat_model, {})
        return lengths.get("chat") or max(lengths.values(), default=None)

    def _connected(self, request: CompletionRequest | ChatRequest | None = None) -> EngineClient:
        if isinstance(request, ChatRequest):  # a deliberate act, unlike typing: it may start an engine that kept dying
            self._user_asked = True
        self._requested.set()
        if self._client is None or self.status.phase not in ANSWERING:
            raise EngineUnavailable(self.status.message)
        return self._client

    async def _keep_connected(self) -> None:
        while True:
            try:
                await self._hold()
            except CodeLlamaError as error:
                self._report(Status(phase="failed", message=str(error)))
            except Exception:
                log.exception("the connection to the engine failed")
                self._report(Status(phase="failed", message=BROKEN))
            if self.status.phase in ("failed", "stopping"):
                await self._wait_for_request()
            elif self.status.phase == "retiring":
                await self._sleep(0 if self._replacing else REPLACE_SECONDS)
            else:
                self._lost = True
                self._report(Status(message="the engine ended; restarting it"))
                await self._sleep(self._backoff.pause())

    async def _hold(self) -> None:
        """Hold a lease until the engine ends, fails or hangs."""
        if self._user_asked:
            self._user_asked = False
            allow_one_more()
        socket = await self._find(self._options)
        client = EngineClient(socket, self._silence)
        try:
            self._client = client
            while not await self._follow(client):
                if await kill_if_hung(socket, self._silence / 2):
                    log.warning("ended the engine, which did not respond")
                    break
        finally:
            self._client = None
            await client.aclose()

    async def _follow(self, client: EngineClient) -> bool:
        """Hold a lease until the engine ends or fails; return False if the engine stops responding."""
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
        """Report a status of the engine, adapted to this session."""
        if status.phase in LEAVING:
            return self._report(status)
        if _is_older(status.version) and not self._replacing:
            self._replacing = True
            return await self._replace(client, status)
        if status.phase == "ready":
            self._backoff.ready()
        self._report(self._checked(status if self._lost else replace(status, crash="")))
        return None

    async def _replace(self, client: EngineClient, status: Status) -> None:
        """Retire an engine of an older version.

        A newer engine is used as it is: its API is the same, and two sessions that replace each other's engine would
        never stop. For the same reason a session retires at most one engine.
        """
        log.info("the engine has version %s, this is %s: retiring it", status.version, inference.__version__)
        try:
            await client.retire()
        except EngineUnavailable:
            raise
        except EngineError as error:
            log.warning("the engine cannot be retired and is used as it is: %s", error)
            self._report(self._checked(status))

    def _checked(self, status: Status) -> Status:
        """Turn the status of an engine with other models into a failure."""
        runs, wanted = (status.model, status.chat_model), self._options.models
        if runs == wanted:
            return status
        text = (
            f"The engine was started by another editor session with {_names(runs)}; this session is set to "
            f"{_names(wanted)}. Set engine.model and engine.chatModel alike, or run `codellama-ls engine stop`."
        )
        return replace(status, phase="failed", message=text)


def _is_older(version: str) -> bool:
    """Return whether an engine's version is older than the installed one; False for an invalid version."""
    try:
        return Version(version) < Version(inference.__version__)
    except InvalidVersion:
        return False


def _names(models: tuple[str, str]) -> str:
    return " and ".join(f"'{model}'" for model in dict.fromkeys(models))
