"""What a language server remembers while a client is connected. Knows no features and no torch."""

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
from lsp_server.completion.gate import Private
from lsp_server.completion.pipeline import CompletionPipeline
from lsp_server.completion.supersede import RunningRequests
from lsp_server.completion.trace import RequestLog, Trace
from lsp_server.context.cross_file import Context
from lsp_server.disk import checked, privacy
from lsp_server.edits.edit_sessions import EditSessions
from lsp_server.json_rpc.messages import tolerant_converter
from lsp_server.json_rpc.protocol import Protocol
from lsp_server.settings import Settings
from lsp_server.usage_statistics.storage import SuggestionRow
from lsp_server.usage_statistics.watch import Watch
from lsp_server.usage_statistics.writer import Writer

log = logging.getLogger(__name__)


class CodeLlamaServer(LanguageServer):
    """What the features share.

    Attributes:
        settings: as last checked.
        keeps_lines: the client stores lines, so that a CR inserted would become text (Neovim).
        engine_url: the address of a server elsewhere that the command line names; empty for none.
        link: to the engine or that server; None before ``initialized`` and after ``shutdown``.
        turns: of inline completions, by document.
        suggestions: what was suggested, or is about to be.
        context: what else the model is shown.
        trace: what became of the last requests; ``journal``: the same for other processes.
        statistics: keeps what became of suggestions; ``watch`` sees it.
        chats: conversations of this window.
        takes_commands: the client runs an item's command once the item is accepted.
        told: what the person need not be told again in this window.
        beside: work that no request waits for.
        edits: what is being edited with instructions.
    """

    settings: Settings
    link: Backend | None
    protocol: Protocol  # type: ignore[assignment]

    def __init__(self, engine_url: str = "") -> None:
        super().__init__(
            "codellama-ls",
            inference.__version__,
            text_document_sync_kind=types.TextDocumentSyncKind.Full,
            protocol_cls=Protocol,
            converter_factory=tolerant_converter,
        )  # pygls applies incremental changes with str.splitlines, which takes form feeds for line ends
        self.settings = Settings()
        self.engine_url = engine_url
        self.keeps_lines = False
        self.link = None
        self.turns = RunningRequests()
        self.suggestions = CompletionPipeline()
        self.context = Context(self._may_read)
        self.trace = Trace()
        self.journal = RequestLog()
        self.statistics = Writer()
        self.watch = Watch(self._keep)
        self.chats = Conversations()
        self.takes_commands = False
        self.told = {""}
        self.beside: set[asyncio.Task[None]] = set()
        self.edits = EditSessions()

    @property
    def folders(self) -> list[Path]:
        """The folders of the window, in its order."""
        roots = [to_fs_path(folder.uri) for folder in list(self.workspace.folders.values())] or [
            self.workspace.root_path
        ]
        return [Path(root) for root in roots if root]

    @cached_property
    def pages(self) -> TemporaryDirectory[str]:
        """A folder for texts that are shown as files; it is the user's alone, and goes with the server."""
        return TemporaryDirectory(prefix="codellama-ls-")

    def _keep(self, row: SuggestionRow, new: bool) -> None:
        """Among the statistics, where the settings allow it."""
        if self.settings.statistics.enabled:
            self.statistics.put(row, new)

    async def why_private(self, path: Path) -> Private | None:
        """Return why the file must not reach a model, if so. Warn, once, of ignore files that can't be used."""
        return await checked(path, self.folders, self.settings.completion.excluded_files, self.warn_once)

    def warn_once(self, text: str) -> None:
        """Show a warning, unless this window has seen it."""
        if text not in self.told:
            self.told.add(text)
            self.window_show_message(types.ShowMessageParams(types.MessageType.Warning, f"codellama-ls: {text}"))

    def _may_read(self, path: Path) -> bool:
        """Return whether a file may reach a model as context: by the rule that the gate has for documents."""
        return privacy(path, self.folders, self.settings.completion.excluded_files) is None

    def start_io(self, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None) -> None:
        """Speak LSP until the client says ``exit`` or closes the stream."""
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
        """Into the log, where the details are; a person is told about what they can act on (``features``)."""
        log.error("%s: %s", getattr(source, "__name__", source), error)
