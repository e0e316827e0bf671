"""Work-done progress (``$/progress``, LSP 3.17): long tasks with a progress bar, and the loading of the model.

A command cannot be cancelled through its request: pygls responds that it was cancelled and lets the handler run on. So
a command starts its long work as a background task, and the progress token cancels it.
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
async def progress_bar(
    server: CodeLlamaServer, title: str, token: Token | None = None, *, from_client: bool = False
) -> AsyncIterator[Callable[[str], None]]:
    """Show a progress bar during the block. Yield a function that updates its message.

    ``from_client``: the client created the token. Cancelling the token cancels the current task.
    """
    bar = _ProgressBar(server, title, token if token is not None else str(uuid.uuid4()), from_client)
    bar.begin()
    try:
        yield bar.report
    finally:
        bar.end()


@asynccontextmanager
async def request_progress(server: CodeLlamaServer, token: Token | None, title: str) -> AsyncIterator[None]:
    """Show a progress bar for a request with a ``workDoneToken``. Without a token show nothing."""
    if token is None:
        yield
        return
    async with progress_bar(server, title, token, from_client=True):
        yield


def run_in_background(server: CodeLlamaServer, work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` as a task that no request waits for. ``shutdown`` cancels it; unexpected errors are logged."""
    task = asyncio.ensure_future(work)
    server.background_tasks.add(task)

    def on_done(task: asyncio.Task[None]) -> None:
        server.background_tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("A background task failed", exc_info=error)

    task.add_done_callback(on_done)


async def cancel_background_tasks(server: CodeLlamaServer) -> None:
    """Cancel all background tasks and wait for them. Their errors do not stop ``shutdown``."""
    tasks = list(server.background_tasks)
    for task in tasks:
        cancel_once(task)
    await asyncio.gather(*tasks, return_exceptions=True)


class _ProgressBar:
    """One progress bar, if the client supports them."""

    def __init__(self, server: CodeLlamaServer, title: str, token: Token, from_client: bool) -> None:
        self._server, self._title, self._token, self._from_client = server, title, token, from_client
        self._shown = self._ended = False
        self._message = ""

    def begin(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "called from a coroutine"
        cancelled: Future[None] = Future()
        cancelled.add_done_callback(lambda one: cancel_once(task) if one.cancelled() else None)
        self._server.work_done_progress.tokens[self._token] = cancelled
        window = self._server.client_capabilities.window
        if self._from_client:
            self._show()
        elif window is not None and window.work_done_progress:
            asyncio.ensure_future(self._create())  # noqa: RUF006  ends with the client's response

    async def _create(self) -> None:
        """Create the token in the client. pygls's ``create_async`` would replace our future for it."""
        params = types.WorkDoneProgressCreateParams(self._token)
        with suppress(JsonRpcException):  # the client refused: show no progress
            await self._server.protocol.send_request_async(types.WINDOW_WORK_DONE_PROGRESS_CREATE, params)
            if not self._ended:
                self._show()

    def _show(self) -> None:
        self._shown = True
        begin = types.WorkDoneProgressBegin(self._title, cancellable=True, message=self._message or None)
        self._notify(begin)

    def report(self, message: str) -> None:
        if message != self._message and self._shown:
            self._notify(types.WorkDoneProgressReport(message=message))
        self._message = message

    def end(self) -> None:
        self._ended = True
        self._server.work_done_progress.tokens.pop(self._token, None)
        if self._shown:
            self._notify(types.WorkDoneProgressEnd())

    def _notify(self, value: Any) -> None:
        self._server.protocol.notify(types.PROGRESS, types.ProgressParams(self._token, value))


class EngineProgress:
    """The progress bar of the engine, from its first ``loading`` status to ``ready`` or ``failed``."""

    def __init__(self, server: CodeLlamaServer) -> None:
        self._server = server
        self._token: str | None = None
        self._latest = Status()

    def show(self, status: Status) -> None:
        """Begin, update or end the bar."""
        self._latest = status
        if status.phase != "loading":
            self._end(status)
        elif self._token is None:
            self._token = str(uuid.uuid4())
            asyncio.ensure_future(self._begin(self._token))  # noqa: RUF006  ends with the client's response
        elif self._token in self._server.work_done_progress.tokens:
            report = types.WorkDoneProgressReport(message=status.message, percentage=status.progress)
            self._server.work_done_progress.report(self._token, report)

    async def _begin(self, token: str) -> None:
        window = self._server.client_capabilities.window
        if window is None or not window.work_done_progress:
            return
        try:
            await self._server.work_done_progress.create_async(token)
        except JsonRpcException:  # the client refused: show no progress
            return
        begin = types.WorkDoneProgressBegin(
            title="Code Llama", message=self._latest.message, percentage=self._latest.progress, cancellable=False
        )
        self._server.work_done_progress.begin(token, begin)
        if self._token != token:  # loading ended before the client responded
            self._finish(token, self._latest)

    def _end(self, status: Status) -> None:
        token, self._token = self._token, None
        if token in self._server.work_done_progress.tokens:
            self._finish(token, status)

    def _finish(self, token: str, status: Status) -> None:
        self._server.work_done_progress.end(token, types.WorkDoneProgressEnd(message=status.message))
        self._server.work_done_progress.tokens.pop(token, None)
