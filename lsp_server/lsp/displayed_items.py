"""Items with a completion's text, tracked for the usage statistics.

The server learns of an accepted item from the client's reports, from the item's command or from the document itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lsprotocol import types

from lsp_server.completion.trace import TraceRecord
from lsp_server.lsp.documents import opened
from lsp_server.lsp.params import announces
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Snapshot, with_lf

ACCEPTED_COMMAND = "codellama.accepted"
"""The command that a client runs after it has inserted an item."""


class DisplayedItem(NamedTuple):
    """A text to insert at the cursor, and the command to run after it is inserted."""

    text: str
    command: types.Command | None = None


def detect_reports(server: CodeLlamaServer, params: types.InitializeParams) -> None:
    """Find out how the client reports accepted items. Neovim runs commands without announcing it."""
    workspace, info = params.capabilities.workspace, params.client_info
    server.watch.reported = announces(server, "codellamaReports")
    server.runs_item_commands = (
        server.watch.reported
        or (workspace is not None and workspace.execute_command is not None)
        or (info is not None and info.name == "Neovim")
    )


def displayed_items(
    server: CodeLlamaServer, snapshot: Snapshot, record: TraceRecord, texts: Sequence[str]
) -> list[DisplayedItem]:
    """Make items of ``texts`` and track them, if the settings allow it."""
    if not texts or not statistics_enabled(server):
        return [DisplayedItem(text) for text in texts]
    model = server.backend.status.model if server.backend else ""
    ids = server.watch.offer(snapshot, texts, record, model)
    if not server.runs_item_commands:
        return [DisplayedItem(text) for text in texts]
    commands = [types.Command("Count as accepted", ACCEPTED_COMMAND, arguments=[id_]) for id_ in ids]
    return [DisplayedItem(text, command) for text, command in zip(texts, commands, strict=True)]


def document_changed(server: CodeLlamaServer, uri: str) -> None:
    """Update the tracked items of a changed document."""
    if not statistics_enabled(server) or not server.watch.watches(uri):
        return
    document = opened(server, uri)
    if document is not None:
        server.watch.changed(uri, with_lf(document.source))


def statistics_enabled(server: CodeLlamaServer) -> bool:
    """Return whether the settings enable usage statistics. If not, forget the tracked items."""
    if not server.settings.statistics.enabled:
        server.watch.forget()
    return server.settings.statistics.enabled
