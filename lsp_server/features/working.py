"""``$/progress`` of a request that carries a work-done token: begun, ended however it ends, and cancelled by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lsprotocol import types

from lsp_server.session import CodeLlamaServer


@asynccontextmanager
async def working(server: CodeLlamaServer, token: str | int | None, title: str) -> AsyncIterator[None]:
    """What happens inside is shown under ``token``; ``window/workDoneProgress/cancel`` cancels the current task."""
    task = asyncio.current_task()
    if token is None or task is None:
        yield
        return
    shown = server.work_done_progress
    shown.begin(token, types.WorkDoneProgressBegin(title=title, cancellable=True))
    shown.tokens[token].add_done_callback(lambda asked: task.cancel() if asked.cancelled() else None)
    try:
        yield
    finally:
        shown.end(token, types.WorkDoneProgressEnd())
        shown.tokens.pop(token, None)
