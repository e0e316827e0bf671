"""The state of one language server while a client is connected."""

from __future__ import annotations

import asyncio
import logging
import sys
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from lsprotocol import types
from pygls.io_ import StdoutWriter
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

import inference
from lsp_server.backend.backend import Backend
from lsp_server.chat.conversation import Conversations
from lsp_server.completion.pipeline import CompletionPipeline
from lsp_server.completion.supersede import RunningRequests
from lsp_server.completion.trace import RequestLog, Trace
from lsp_server.context.cross_file import CrossFileCollector
from lsp_server.disk import Private, check_privacy, privacy
from lsp_server.edits.edit_sessions import EditSessions
from lsp_server.json_rpc.messages import tolerant_converter
from lsp_server.json_rpc.protocol import Protocol
from lsp_server.settings import Settings
from lsp_server.usage_statistics.storage import SuggestionRow
from lsp_server.usage_statistics.watch import SuggestionWatch
from lsp_server.usage_statistics.writer import StatisticsWriter

log = logging.getLogger(__name__)


class CodeLlamaServer(LanguageServer):
    """The state shared by the features.

    Attributes:
        settings: the current settings, validated.
        keeps_lines: the client stores lines (Neovim). A CR in an inserted text would become part of a line.
        engine_url: address of a remote server given on the command line; empty for none.
        backend: the local engine or the remote server; None before ``initialized`` and after ``shutdown``.
        running_requests: running inline completion requests, by document.
        pipeline: the completion pipeline with its cache.
        context: cross-file context.
        trace: records of the last completion requests; ``request_log`` writes them for other processes.
        statistics: stores usage statistics; ``watch`` tracks the displayed items.
        chats: conversations of this session.
        runs_item_commands: the client runs an item's command after the item is accepted.
        shown_messages: messages that were shown in this session and are not repeated.
        background_tasks: tasks that no request waits for.
        edits: running edits by instruction.
    """

    settings: Settings
    backend: Backend | None
    protocol: Protocol  # type: ignore[assignment]

    def __init__(self, engine_url: str = "") -> None:
        super().__init__(
            "codellama-ls",
            inference.__version__,
            text_document_sync_kind=types.TextDocumentSyncKind.Full,
            protocol_cls=Protocol,
            converter_factory=tolerant_converter,
        )  # full sync: pygls applies incremental changes with str.splitlines, which splits at form feeds too
        self.settings = Settings()
        self.engine_url = engine_url
        self.keeps_lines = False
        self.backend = None
        self.running_requests = RunningRequests()
        self.pipeline = CompletionPipeline()
        self.context = CrossFileCollector(self._may_read)
        self.trace = Trace()
        self.request_log = RequestLog()
        self.statistics = StatisticsWriter()
        self.watch = SuggestionWatch(self._store)
        self.chats = Conversations()
        self.runs_item_commands = False
        self.shown_messages: set[str] = set()
        self.background_tasks: set[asyncio.Task[None]] = set()
        self.edits = EditSessions()

    @property
    def folders(self) -> list[Path]:
        """Return the workspace folders, in the client's order."""
        roots = [to_fs_path(folder.uri) for folder in list(self.workspace.folders.values())] or [
            self.workspace.root_path
        ]
        return [Path(root) for root in roots if root]

    @cached_property
    def pages(self) -> TemporaryDirectory[str]:
        """A private folder for texts that are opened as files. It is deleted with the server."""
        return TemporaryDirectory(prefix="codellama-ls-")

    async def why_private(self, path: Path) -> Private | None:
        """Return why the file must not reach a model, if so. Warn once of each unusable ignore file."""
        return await check_privacy(path, self.folders, self.settings.completion.excluded_files, self.warn_once)

    def warn_once(self, text: str) -> None:
        """Show a warning, once per session."""
        self.show_once(types.MessageType.Warning, text)

    def show_once(self, kind: types.MessageType, text: str) -> None:
        """Show a message, once per session. An empty text is not shown."""
        if text and text not in self.shown_messages:
            self.shown_messages.add(text)
            self.window_show_message(types.ShowMessageParams(kind, f"codellama-ls: {text}"))

    def start_io(self, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None) -> None:
        """Speak LSP until the client sends ``exit`` or closes the stream."""
        self.protocol.set_writer(StdoutWriter(stdout or sys.stdout.buffer))
        source: Any = stdin or sys.stdin.buffer
        try:
            asyncio.run(self.protocol.listen(lambda size: asyncio.to_thread(source.read1, size)))
        except BrokenPipeError:
            log.error("The client has closed the connection. The server ends.")
        except (KeyboardInterrupt, SystemExit):
            pass
        finally:
            self.shutdown()

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Log an error. Features show the user only errors that they can act on."""
        log.error("%s: %s", getattr(source, "__name__", source), error)

    def _store(self, row: SuggestionRow, new: bool) -> None:
        """Store a row of the usage statistics, if the settings allow it."""
        if self.settings.statistics.enabled:
            self.statistics.put(row, new)

    def _may_read(self, path: Path) -> bool:
        """Return whether cross-file context may include a file. The gate applies the same rule to documents."""
        return privacy(path, self.folders, self.settings.completion.excluded_files) is None
