"""``$/progress``: how far the engine is with loading its model, for clients that show such things."""

from __future__ import annotations

import asyncio
import uuid

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from inference.serving.state import Status
from lsp_server.session import CodeLlamaServer


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
