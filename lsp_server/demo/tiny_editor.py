"""A minimal LSP client that opens files in the real server, requests completions and reads ``codellama/trace``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.client import LanguageClient

import inference
from inference.api.status import ANSWERING
from inference.errors import CodeLlamaError
from inference.system.child_processes import NEUTRAL_FOLDER, python_module

LANGUAGES = {
    ".py": "python", ".js": "javascript", ".ts": "typescript", ".tsx": "typescriptreact", ".java": "java", ".c": "c",
    ".h": "c", ".cc": "cpp", ".cpp": "cpp", ".hpp": "cpp", ".cs": "csharp", ".php": "php", ".sh": "shellscript",
    ".go": "go", ".rs": "rust", ".rb": "ruby", ".lua": "lua", ".md": "markdown",
}  # fmt: skip


class NotReadyError(CodeLlamaError, RuntimeError):
    """The engine cannot serve requests; the message comes from the server."""


class TinyEditor:
    """One editor session. Its suggestions are not counted in the user's statistics.

    Attributes:
        engine_pid: process id of the engine; 0 until it is known.
    """

    def __init__(self, client: LanguageClient, on_progress: Callable[[str], None]) -> None:
        self._client = client
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_progress = on_progress
        self._version = 1
        self.engine_pid = 0
        # pygls sets attributes on registered functions, which bound methods do not allow
        client.feature(types.PROGRESS)(lambda params: self._progress(params))
        client.feature(types.WINDOW_WORK_DONE_PROGRESS_CREATE)(lambda params: None)
        client.feature(types.WINDOW_SHOW_MESSAGE)(lambda params: self._message(params))
        client.feature("codellama/status")(lambda params: self._status(params))

    async def ready(self) -> None:
        """Wait until the engine can serve requests. Raises ``NotReadyError``."""
        await self._ready

    def open(self, path: Path, text: str) -> None:
        """Send ``didOpen`` with a file's text."""
        language = LANGUAGES.get(path.suffix, "plaintext")
        item = types.TextDocumentItem(path.as_uri(), language, 1, text)
        self._client.text_document_did_open(types.DidOpenTextDocumentParams(item))

    def change(self, path: Path, text: str) -> None:
        """Send ``didChange`` with the whole new text."""
        self._version += 1
        document = types.VersionedTextDocumentIdentifier(self._version, path.as_uri())
        change = types.TextDocumentContentChangeWholeDocument(text)
        self._client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))

    def close(self, path: Path) -> None:
        """Send ``didClose``."""
        document = types.TextDocumentIdentifier(path.as_uri())
        self._client.text_document_did_close(types.DidCloseTextDocumentParams(document))

    async def complete(self, path: Path, text: str, line: int, column: int, *, invoked: bool = True) -> str:
        """Return the suggestion at zero-based ``line`` and ``column`` (in code points); empty if there is none.

        ``invoked`` is an explicit request; otherwise it is an automatic one, as while typing.
        """
        kinds = types.InlineCompletionTriggerKind
        params = types.InlineCompletionParams(
            types.InlineCompletionContext(kinds.Invoked if invoked else kinds.Automatic),
            types.TextDocumentIdentifier(path.as_uri()),
            types.Position(line, column),
        )
        items = await self._client.text_document_inline_completion_async(params)
        if not isinstance(items, list) or not items:
            return ""
        row = text.split("\n")[line]
        whole = str(items[0].insert_text)
        return whole[column : len(whole) - len(row[column:])]

    async def records(self) -> list[dict[str, Any]]:
        """Return the server's trace records of the last requests, newest last."""
        return [_plain(record) for record in await self._client.protocol.send_request_async("codellama/trace", {})]

    async def last_record(self) -> dict[str, Any]:
        """Return the newest trace record."""
        return (await self.records())[-1]

    def _progress(self, params: types.ProgressParams) -> None:
        value = _plain(params.value)
        if value.get("kind") != "end":
            self._on_progress(f"{value.get('message') or ''} {value.get('percentage') or 0} %")

    def _message(self, params: types.ShowMessageParams) -> None:
        if params.type == types.MessageType.Error and not self._ready.done():
            self._ready.set_exception(NotReadyError(params.message.removeprefix("codellama-ls: ")))

    def _status(self, params: Any) -> None:
        status = _plain(params)
        self.engine_pid = status.get("pid") or 0
        if status.get("phase") in ANSWERING and not self._ready.done():
            self._ready.set_result(None)


def demo_settings(model: str) -> dict[str, Any]:
    """Return settings for one suggestion per position, without prefetching."""
    return {"engine": {"model": model}, "completion": {"prefetch": False, "alternatives": 1}}


@asynccontextmanager
async def tiny_editor(
    settings: dict[str, Any] | None = None, on_progress: Callable[[str], None] = lambda _: None
) -> AsyncIterator[TinyEditor]:
    """Start the server, initialise it, and shut it down at the end."""
    client = LanguageClient("codellama-ls", inference.__version__)
    editor = TinyEditor(client, on_progress)
    await client.start_io(*python_module("lsp_server"), "--stdio", cwd=NEUTRAL_FOLDER)
    draining = asyncio.ensure_future(_drain(client))
    try:
        await client.initialize_async(
            types.InitializeParams(
                capabilities=types.ClientCapabilities(
                    general=types.GeneralClientCapabilities(position_encodings=[types.PositionEncodingKind.Utf32]),
                    text_document=types.TextDocumentClientCapabilities(
                        inline_completion=types.InlineCompletionClientCapabilities()
                    ),
                    window=types.WindowClientCapabilities(work_done_progress=True),
                    experimental={"codellamaStatus": True},
                ),
                client_info=types.ClientInfo("codellama-ls", inference.__version__),
                initialization_options={**(settings or {}), "statistics": {"enabled": False}},
            )
        )
        client.initialized(types.InitializedParams())
        yield editor
    finally:
        await _shut_down(client)
        draining.cancel()


async def _shut_down(client: LanguageClient) -> None:
    """Shut the server down in any case: without ``exit`` pygls would wait for it forever."""
    log = logging.getLogger("pygls")
    level = log.level
    log.setLevel(logging.CRITICAL)  # pygls logs responses to cancelled requests as errors
    try:
        with suppress(RuntimeError):  # the server has already exited
            with suppress(JsonRpcException):  # the server was not initialised
                await client.shutdown_async(None)
            client.exit(None)
        await client.stop()
    finally:
        log.setLevel(level)


async def _drain(client: LanguageClient) -> None:
    """Discard the server's log: pygls pipes stderr, and a full pipe would block the server."""
    server = client._server
    if server is not None and server.stderr is not None:
        while await server.stderr.readline():
            pass


def _plain(value: Any) -> dict[str, Any]:
    """Convert parameters to a dict: custom messages are named tuples, LSP types attrs classes."""
    if isinstance(value, dict):
        return value
    if hasattr(value, "_asdict"):
        return {k: _plain(v) if hasattr(v, "_asdict") else v for k, v in value._asdict().items()}
    return {name: getattr(value, name) for name in getattr(value, "__slots__", ()) or vars(value)}
