"""A person who accepts what is suggested in an editor, and what was kept of it; model and clock are scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

from fakes.answerer import ScriptedAnswerer
from fakes.clock import HandTimers
from lsprotocol import types
from support.e2e_window import Window, window_on
from support.fixtures_engine import serving

from lsp_server.server import create_server
from lsp_server.usage_statistics.storage import Storage, SuggestionRow

PIECES = ["foo(", "a, b)"]
REPORTS = ("codellamaReports",)


@dataclass
class Person:
    """At an editor, with one document."""

    editor: Window
    timers: HandTimers

    async def sees(self, text: str = "x = ", *, invoked: bool = False) -> list[types.InlineCompletionItem]:
        """Asks for what is suggested, having typed so far."""
        self.has(text)
        place = text.count("\n"), len(text.rpartition("\n")[2])
        return await asyncio.wait_for(self.editor.request(*place, invoked=invoked), 60)

    def has(self, text: str) -> None:
        """The document becomes this, and a line end."""
        self.editor.change(text + "\n")

    async def runs(self, item: types.InlineCompletionItem) -> None:
        """The editor does, once the item is accepted."""
        assert item.command is not None
        params = types.ExecuteCommandParams(item.command.command, item.command.arguments)
        assert await self.editor.client.workspace_execute_command_async(params) is None

    def reports(self, what: str, item: types.InlineCompletionItem, **more: Any) -> None:
        """One of our own clients does."""
        self.editor.client.protocol.notify(f"codellama/{what}", {"id": item_id(item), **more})

    async def stats(self, **params: Any) -> Any:
        return await self.editor.client.protocol.send_request_async("codellama/stats", params)

    async def rows(self) -> list[SuggestionRow]:
        """What is kept by now, oldest first."""
        await self.stats()
        return read()


def item_id(item: types.InlineCompletionItem) -> str:
    assert item.command is not None and item.command.arguments is not None
    return str(item.command.arguments[0])


def read() -> list[SuggestionRow]:
    with closing(Storage()) as opened:
        return opened.read(0)


def told(rows: list[SuggestionRow]) -> list[tuple]:
    """Fate, length, taken, typed, kept."""
    return [(row.fate, row.characters, row.taken, row.typed, row.kept) for row in rows]


@asynccontextmanager
async def person(
    runtime, pieces: list[str] | None = None, editor: str = "vscode", settings: Any = None, says: tuple[str, ...] = ()
) -> AsyncIterator[Person]:
    server, timers = create_server(), HandTimers()
    server.watch.later = timers
    async with (
        serving(runtime, ScriptedAnswerer(pieces or PIECES)),
        window_on(server, editor, settings, says=says) as opened,
    ):
        opened.open("")
        yield Person(opened, timers)
