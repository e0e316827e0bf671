"""Memory that pygls would retain for every keystroke."""

from __future__ import annotations

from support.editor_session import in_process_session
from support.waiting import until

from lsp_server.server import create_server


async def test_notifications_leave_no_pending_futures(runtime):
    """One server receives about a hundred thousand keystrokes a day."""
    server = create_server()
    async with in_process_session(server) as editor:
        editor.open("")
        for n in range(20):
            editor.change("x" * n)
        await editor.trace()
        await until(lambda: not server.protocol._request_futures, 5)
