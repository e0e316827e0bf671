"""Work that takes long: shown by ``$/progress``, and ended by whoever cancels its token. Knows nothing of the work.

A command can't be cancelled through its request: pygls answers that it was, and lets the handler run on. So long work
of a command is done beside it, and its token is what ends it.

``$/progress``: how far the engine is with loading its model, for clients that show such things.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from inference.api.status import Status
from lsp_server.concurrency import cancel_once
from lsp_server.session import CodeLlamaServer

log = logging.getLogger(__name__)

Token = int | str


@asynccontextmanager
async def at_work(
    server: CodeLlamaServer, title: str, token: Token | None = None, *, given: bool = False
) -> AsyncIterator[Callable[[str], None]]:
    """Do something in this task while the client shows ``title``, and what the yielded function is called with.

    ``given``: the token is the client's own. Who cancels the token cancels the task.
    """
    bar = _Bar(server, title, token if token is not None else str(uuid.uuid4()), given)
    bar.begin()
    try:
        yield bar.say
    finally:
        bar.end()


@asynccontextmanager
async def under(server: CodeLlamaServer, token: Token | None, title: str) -> AsyncIterator[None]:
    """The same for a request that may bring a token of the client's; without one nothing is shown."""
    if token is None:
        yield
        return
    async with at_work(server, title, token, given=True):
        yield


def beside(server: CodeLlamaServer, work: Coroutine[Any, Any, None]) -> None:
    """Do something that no request waits for; ``shutdown`` ends it. What goes wrong in it unforeseen is logged."""
    task = asyncio.ensure_future(work)
    server.beside.add(task)

    def ended(task: asyncio.Task[None]) -> None:
        server.beside.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("work beside ended with an error", exc_info=error)

    task.add_done_callback(ended)


async def end_all(server: CodeLlamaServer) -> None:
    """Of what is done beside, whatever each ends with: ``shutdown`` is answered in any case."""
    tasks = list(server.beside)
    for task in tasks:
        cancel_once(task)
    await asyncio.gather(*tasks, return_exceptions=True)


class _Bar:
    """One progress bar, where the client has such."""

    def __init__(self, server: CodeLlamaServer, title: str, token: Token, given: bool) -> None:
        self._server, self._title, self._token, self._given = server, title, token, given
        self._shown = self._ended = False
        self._said = ""

    def begin(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "called from a coroutine"
        cancelled: Future[None] = Future()
        cancelled.add_done_callback(lambda one: cancel_once(task) if one.cancelled() else None)
        self._server.work_done_progress.tokens[self._token] = cancelled
        window = self._server.client_capabilities.window
        if self._given:
            self._show()
        elif window is not None and window.work_done_progress:
            asyncio.ensure_future(self._create())  # noqa: RUF006  ends with the client's answer

    async def _create(self) -> None:
        """pygls's own would put another future in the place of ours."""
        params = types.WorkDoneProgressCreateParams(self._token)
        with suppress(JsonRpcException):  # a client that refuses shows nothing
            await self._server.protocol.send_request_async(types.WINDOW_WORK_DONE_PROGRESS_CREATE, params)
            if not self._ended:
                self._show()

    def _show(self) -> None:
        self._shown = True
        begin = types.WorkDoneProgressBegin(self._title, cancellable=True, message=self._said or None)
        self._notify(begin)

    def say(self, text: str) -> None:
        if text != self._said and self._shown:
            self._notify(types.WorkDoneProgressReport(message=text))
        self._said = text

    def end(self) -> None:
        self._ended = True
        self._server.work_done_progress.tokens.pop(self._token, None)
        if self._shown:
            self._notify(types.WorkDoneProgressEnd())

    def _notify(self, value: Any) -> None:
        self._server.protocol.notify(types.PROGRESS, types.ProgressParams(self._token, value))


class EngineProgress:
    """One progress bar from the first loading status to the ready (or failed) one."""

    def __init__(self, server: CodeLlamaServer) -> None:
        self._server = server
        self._token: str | None = None
        self._latest = Status()

    def show(self, status: Status) -> None:
        """Begin, move or end the bar."""
        self._latest = status
        if status.phase != "loading":
            self._end(status)
        elif self._token is None:
            self._token = str(uuid.uuid4())
            asyncio.ensure_future(self._begin(self._token))  # noqa: RUF006  ends with the client's answer
        elif self._token in self._server.work_done_progress.tokens:
            report = types.WorkDoneProgressReport(message=status.message, percentage=status.progress)
            self._server.work_done_progress.report(self._token, report)

    async def _begin(self, token: str) -> None:
        window = self._server.client_capabilities.window
        if window is None or not window.work_done_progress:
            return
        try:
            await self._server.work_done_progress.create_async(token)
        except JsonRpcException:  # a client that refuses shows nothing
            return
        begin = types.WorkDoneProgressBegin(
            title="Code Llama", message=self._latest.message, percentage=self._latest.progress, cancellable=False
        )
        self._server.work_done_progress.begin(token, begin)
        if self._token != token:  # it was ready before the client had answered
            self._finish(token, self._latest)

    def _end(self, status: Status) -> None:
        token, self._token = self._token, None
        if token in self._server.work_done_progress.tokens:
            self._finish(token, status)

    def _finish(self, token: str, status: Status) -> None:
        self._server.work_done_progress.end(token, types.WorkDoneProgressEnd(message=status.message))
        self._server.work_done_progress.tokens.pop(token, None)
