"""What pygls would keep of every key."""

from __future__ import annotations

from support.editor_session import in_process_session
from support.waiting import until

from lsp_server.server import create_server


async def test_nothing_is_kept_of_notifications(runtime):
    """A person types a hundred thousand keys a day into one server."""
    server = create_server()
    async with in_process_session(server) as editor:
        editor.open("")
        for n in range(20):
            editor.change("x" * n)
        await editor.trace()
        await until(lambda: not server.protocol._request_futures, 5)
