"""An editor session driven by pytest-lsp, with the client capabilities of a real editor."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from lsprotocol import types
from pygls.io_ import run_async
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities, make_test_lsp_client

from lsp_server.session import CodeLlamaServer

Adjust = Callable[[types.ClientCapabilities], None]

SERVER = [sys.executable, "-m", "lsp_server", "--stdio"]
ROOT = "file:///project"
URI = f"{ROOT}/a.py"


def capabilities(editor: str, says: Sequence[str] = (), adjust: Adjust | None = None) -> types.ClientCapabilities:
    """Return an editor's client capabilities, as pytest-lsp recorded them, with inline completion for newer versions.

    ``says`` are capabilities under ``experimental``.
    """
    spec = {"vscode": "visual-studio-code@v1.65.2", "neovim": "neovim@v0.11.0"}.get(editor, editor)
    found = client_capabilities(spec)
    assert found.text_document is not None
    if editor in ("vscode", "neovim"):  # newer than the recorded versions
        dynamic = editor == "vscode"
        found.text_document.inline_completion = types.InlineCompletionClientCapabilities(dynamic)
    found.experimental = dict.fromkeys(("codellamaStatus", *says), True)
    if adjust is not None:
        adjust(found)
    return found


@dataclass
class EditorSession:
    """One editor with one language server.

    Attributes:
        statuses: every ``codellama/status`` notification; ``ready`` and ``failed`` are set by those phases.
        version: version of the document.
    """

    client: LanguageClient
    result: types.InitializeResult
    statuses: list[Any] = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    version: int = 1

    @property
    def pid(self) -> int:
        assert self.client._server is not None
        return self.client._server.pid

    def open(self, text: str, uri: str = URI, language: str = "python") -> None:
        item = types.TextDocumentItem(uri, language, self.version, text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))

    def change(self, text: str, uri: str = URI) -> None:
        self.version += 1
        document = types.VersionedTextDocumentIdentifier(self.version, uri)
        change = types.TextDocumentContentChangeWholeDocument(text)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))

    def request(
        self,
        line: int,
        character: int,
        *,
        uri: str = URI,
        invoked: bool = True,
        msg_id: str | None = None,
        selected: types.SelectedCompletionInfo | None = None,
    ) -> asyncio.Future[Any]:
        """Send an inline completion request; the future is its result."""
        kind = types.InlineCompletionTriggerKind.Invoked if invoked else types.InlineCompletionTriggerKind.Automatic
        params = types.InlineCompletionParams(
            types.InlineCompletionContext(kind, selected),
            types.TextDocumentIdentifier(uri),
            types.Position(line, character),
        )
        return asyncio.wrap_future(
            self.client.protocol.send_request(types.TEXT_DOCUMENT_INLINE_COMPLETION, params, msg_id=msg_id)
        )

    async def inline(self, line: int, character: int, **options) -> list[tuple[str, tuple[int, int, int, int]]]:
        """Return text and range of each item."""
        items = await asyncio.wait_for(self.request(line, character, **options), 60)
        return [(item.insert_text, corners(item.range)) for item in items]

    async def trace(self) -> list[Any]:
        """Return the server's trace of completion requests."""
        return await self.client.protocol.send_request_async("codellama/trace", {})


def corners(where: types.Range) -> tuple[int, int, int, int]:
    """Return start line and character, end line and character."""
    return where.start.line, where.start.character, where.end.line, where.end.character


@asynccontextmanager
async def editor_session(
    editor: str = "vscode",
    settings: Any = None,
    *,
    wait: bool = True,
    env: dict[str, str] | None = None,
    says: Sequence[str] = (),
    adjust: Adjust | None = None,
    command: Sequence[str] = SERVER,
    root: str = ROOT,
) -> AsyncIterator[EditorSession]:
    """Start a server process and initialize it; shut it down at the end.

    With ``wait``, return when the server has found an engine. Prefetching and alternatives are off unless ``settings``
    enable them, so that a request reaches the engine at most once. ``adjust`` changes the announced capabilities.
    """
    announced = capabilities(editor, says, adjust)
    config = ClientServerConfig(server_command=list(command), server_env={**os.environ, **(env or {})})
    client = await config.start()
    assert isinstance(client, LanguageClient)
    opened = await _initialized(client, editor, settings, announced, root)
    try:
        if wait:
            await asyncio.wait_for(opened.ready.wait(), 120)
        yield opened
    finally:
        if client._server is not None and client._server.returncode is None:
            await asyncio.wait_for(client.shutdown_session(), 30)
        await client.stop()


@asynccontextmanager
async def in_process_session(
    server: CodeLlamaServer,
    editor: str = "vscode",
    settings: Any = None,
    *,
    wait: bool = True,
    says: Sequence[str] = (),
    adjust: Adjust | None = None,
    root: str = ROOT,
) -> AsyncIterator[EditorSession]:
    """Run ``server`` in this process, where a test can replace its clock; editor and server still speak LSP."""
    announced = capabilities(editor, says, adjust)
    client = make_test_lsp_client()
    ends = [await asyncio.open_connection(sock=end) for end in socket.socketpair()]
    (reader, writer), (server_reader, server_writer) = ends
    client.protocol.set_writer(writer)
    server.protocol.set_writer(server_writer)
    listening = [
        asyncio.ensure_future(run_async(threading.Event(), reader, client.protocol)),
        asyncio.ensure_future(server.protocol.listen(server_reader.read)),
    ]
    try:
        opened = await _initialized(client, editor, settings, announced, root)
        if wait:
            await asyncio.wait_for(opened.ready.wait(), 120)
        yield opened
        await asyncio.wait_for(client.shutdown_async(None), 30)
    finally:
        for _, writer in ends:
            writer.close()
        await asyncio.gather(*listening)


async def _initialized(
    client: LanguageClient, editor: str, settings: Any, announced: types.ClientCapabilities, root: str
) -> EditorSession:
    """Send ``initialize`` and collect status notifications."""
    settings = {**(settings or {})}
    settings["completion"] = {"prefetch": False, "alternatives": 1, **settings.get("completion", {})}
    opened = EditorSession(client, types.InitializeResult(types.ServerCapabilities()))

    @client.feature("codellama/status")
    def status(params: Any) -> None:
        opened.statuses.append(params)
        {"ready": opened.ready, "failed": opened.failed}.get(params.phase, asyncio.Event()).set()

    name = {"vscode": "Visual Studio Code", "neovim": "Neovim"}.get(editor, editor)
    opened.result = await client.initialize_session(
        types.InitializeParams(
            capabilities=announced,
            client_info=types.ClientInfo(name),
            root_uri=root,
            initialization_options=settings,
        )
    )
    return opened
