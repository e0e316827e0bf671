"""What becomes of suggestions: ``codellama/didShow`` and its like, the items' command, and ``codellama/stats``.

A client that says ``experimental: {codellamaReports: true}`` tells what it shows (``didShow``) and what was accepted
(``didAccept``; ``didPartiallyAccept`` for a word or a line, sent after the document has changed), naming the item by
``id``: the first argument of its command. Other clients run the command once the item is accepted, if they run commands
at all; it does nothing but count. Of the rest, and of those too, the document tells what was taken and what was typed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from lsprotocol import types

from lsp_server.completion.trace import Record
from lsp_server.lsp.documents import opened
from lsp_server.lsp.params import announces
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Snapshot, with_lf
from lsp_server.usage_statistics.storage import LONGEST_DAYS
from lsp_server.usage_statistics.usage_figures import USUAL_DAYS, collected

ACCEPTED = "codellama.accepted"
"""The command of our items."""

STATS = "codellama/stats"
SHOW, ACCEPT, ACCEPT_PART = "codellama/didShow", "codellama/didAccept", "codellama/didPartiallyAccept"


class DisplayedItem(NamedTuple):
    """A text to insert at the cursor, and the command that is to be run once it is."""

    text: str
    command: types.Command | None = None


def register(server: CodeLlamaServer) -> None:
    """Our own notifications and request, and the command."""
    server.feature(SHOW)(did_show)
    server.feature(ACCEPT)(did_accept)
    server.feature(ACCEPT_PART)(did_partially_accept)
    server.feature(STATS)(stats)
    server.command(ACCEPTED)(accepted)


def meet(server: CodeLlamaServer, params: types.InitializeParams) -> None:
    """See how this client tells what becomes of items. Neovim runs commands, and does not say so."""
    workspace, info = params.capabilities.workspace, params.client_info
    server.watch.reported = announces(server, "codellamaReports")
    server.takes_commands = (
        server.watch.reported
        or (workspace is not None and workspace.execute_command is not None)
        or (info is not None and info.name == "Neovim")
    )


def offers(server: CodeLlamaServer, snapshot: Snapshot, record: Record, texts: Sequence[str]) -> list[DisplayedItem]:
    """``texts`` are about to be shown at ``snapshot``: watch them, where the settings allow."""
    if not texts or not _watching(server):
        return [DisplayedItem(text) for text in texts]
    model = server.link.status.model if server.link else ""
    ids = server.watch.offer(snapshot, texts, record, model)
    if not server.takes_commands:
        return [DisplayedItem(text) for text in texts]
    commands = [types.Command("Count as accepted", ACCEPTED, arguments=[id_]) for id_ in ids]
    return [DisplayedItem(text, command) for text, command in zip(texts, commands, strict=True)]


def changed(server: CodeLlamaServer, uri: str) -> None:
    """A document has been changed."""
    if not _watching(server) or not server.watch.watches(uri):
        return
    document = opened(server, uri)
    if document is not None:
        server.watch.changed(uri, with_lf(document.source))


def did_show(server: CodeLlamaServer, params: Any) -> None:
    """The client shows an item."""
    if _watching(server):
        server.watch.shown(_id(params))


def did_accept(server: CodeLlamaServer, params: Any) -> None:
    """All that was left of an item was accepted."""
    if _watching(server):
        server.watch.accepted(_id(params))


def did_partially_accept(server: CodeLlamaServer, params: Any) -> None:
    """A part of an item was accepted; ``characters`` of it, where the document was not changed first."""
    characters = getattr(params, "characters", 0)
    if _watching(server):
        server.watch.partly_accepted(_id(params), max(characters, 0) if isinstance(characters, int) else 0)


def accepted(server: CodeLlamaServer, *arguments: Any) -> None:
    """``workspace/executeCommand``: an item was accepted. Whatever a client passes, nothing happens but counting."""
    if arguments and _watching(server):
        server.watch.accepted(str(arguments[0]))


async def stats(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """The figures of the last ``days`` (30), as ``codellama-ls stats --json`` prints them."""
    days = getattr(params, "days", None)
    await asyncio.to_thread(server.statistics.flush)
    return await asyncio.to_thread(collected, min(max(days, 1), LONGEST_DAYS) if isinstance(days, int) else USUAL_DAYS)


def today(server: CodeLlamaServer) -> dict[str, Any] | None:
    """For the status: what was shown and accepted today, in all windows; None while that isn't known."""
    known = server.statistics.today
    if known is None or not server.settings.statistics.enabled:
        return None
    acceptance = round(known.accepted / known.shown, 4) if known.shown else None
    return {"shown": known.shown, "accepted": known.accepted, "acceptance": acceptance}


def _watching(server: CodeLlamaServer) -> bool:
    """Do the settings allow it? If not, what was being watched is forgotten."""
    if not server.settings.statistics.enabled:
        server.watch.forget()
    return server.settings.statistics.enabled


def _id(params: Any) -> str:
    return str(getattr(params, "id", ""))
