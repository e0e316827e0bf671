"""Background tasks: the server goes on whatever they raise."""

from __future__ import annotations

import asyncio
import logging

from lsp_server.lsp.work_done_progress import cancel_background_tasks, run_in_background
from lsp_server.server import create_server


async def test_failing_background_tasks_do_not_block_shutdown(
    caplog,
):
    server, begun = create_server(), asyncio.Event()

    async def fails() -> None:
        raise RuntimeError("at once")

    async def fails_at_its_end() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("at its end")

    run_in_background(server, fails())
    run_in_background(server, fails_at_its_end())
    await begun.wait()
    with caplog.at_level(logging.ERROR):
        await cancel_background_tasks(server)
        await asyncio.sleep(0)
    assert server.background_tasks == set()
    assert sorted(str(one.exc_info[1]) for one in caplog.records if one.exc_info) == ["at its end", "at once"]
