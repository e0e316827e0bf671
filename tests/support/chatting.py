"""A person who chats in an editor window, as far as what goes over the wire is concerned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.answerer import ScriptedAnswerer
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from support.e2e_window import Window, window_on
from support.fixtures_engine import RunningService, serving

from inference.text.prompts import Message
from lsp_server.server import create_server


@dataclass
class Chatter:
    """At an editor whose client has a place for conversations; ``heard`` is every (token, value) of ``$/progress``."""

    editor: Window
    engine: RunningService
    folder: Path
    heard: list[tuple[Any, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        features = self.editor.client.protocol.fm.features  # pytest-lsp knows no partial results
        features[types.PROGRESS] = lambda params: self.heard.append((params.token, plain(params.value)))

    @property
    def answerer(self) -> ScriptedAnswerer:
        return self.engine.answerer

    def sent(self, method: str, params: dict[str, Any], msg_id: str | None = None) -> asyncio.Future[Any]:
        """A request; await what it returns for the answer."""
        return asyncio.wrap_future(self.editor.client.protocol.send_request(method, params, msg_id=msg_id))

    async def asks(self, method: str, **params: Any) -> Any:
        return plain(await asyncio.wait_for(self.sent(method, params), 30))

    async def says(self, text: str, **more: Any) -> Any:
        return await self.asks("codellama/chat", text=text, **more)

    async def is_refused(self, method: str, **params: Any) -> tuple[int, str]:
        """Code and message of the error."""
        try:
            answer = await self.asks(method, **params)
        except JsonRpcException as error:
            return error.code, error.message
        raise AssertionError(f"answered with {answer}")

    def opens(self, name: str, text: str) -> dict[str, Any]:
        """A document of the folder; returns how requests name it."""
        uri = (self.folder / name).as_uri()
        self.editor.open(text, uri)
        return {"uri": uri}

    def read(self, n: int = -1) -> list[tuple[str, str]]:
        """Role and content of the messages that a request put to the model."""
        messages: tuple[Message, ...] = self.answerer.asked[n][0]
        return [(one.role, one.content) for one in messages]


@asynccontextmanager
async def chatter(
    runtime: Path, folder: Path, answerer: ScriptedAnswerer | None = None, editor: str = "vscode", settings: Any = None
) -> AsyncIterator[Chatter]:
    """In ``folder``; the model says "a" and "b" if nothing else is said."""
    async with (
        serving(runtime, answerer or ScriptedAnswerer()) as engine,
        window_on(create_server(), editor, settings, root=folder.as_uri()) as opened,
    ):
        yield Chatter(opened, engine, folder)


def plain(value: Any) -> Any:
    """What pygls made of JSON, as it was."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def selection(first: tuple[int, int], last: tuple[int, int]) -> dict[str, Any]:
    """A range in JSON."""
    return {name: {"line": at[0], "character": at[1]} for name, at in (("start", first), ("end", last))}
