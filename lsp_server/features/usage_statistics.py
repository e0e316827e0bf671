"""Usage statistics: ``codellama/didShow``, ``didAccept``, ``didPartiallyAccept``, ``stats``, and the items' command.

A client that announces ``experimental: {codellamaReports: true}`` reports the items that it shows (``didShow``) and
those the user accepts: ``didAccept``, or ``didPartiallyAccept`` for a word or a line, sent after the document has
changed. A report names the item by ``id``, the first argument of its command. Other clients run the command after they
insert the item, if they support commands; it only counts. In addition, the server compares the document with the item.
"""

from __future__ import annotations

import asyncio
from typing import Any

from lsp_server.lsp.displayed_items import ACCEPTED_COMMAND, statistics_enabled
from lsp_server.session import CodeLlamaServer
from lsp_server.usage_statistics.storage import LONGEST_DAYS
from lsp_server.usage_statistics.usage_figures import USUAL_DAYS, recent_figures

STATS = "codellama/stats"
SHOW, ACCEPT, ACCEPT_PART = "codellama/didShow", "codellama/didAccept", "codellama/didPartiallyAccept"


def register(server: CodeLlamaServer) -> None:
    """Register the custom notifications, the custom request and the command."""
    server.feature(SHOW)(did_show)
    server.feature(ACCEPT)(did_accept)
    server.feature(ACCEPT_PART)(did_partially_accept)
    server.feature(STATS)(stats)
    server.command(ACCEPTED_COMMAND)(accepted)


def did_show(server: CodeLlamaServer, params: Any) -> None:
    """Record that the client shows an item."""
    if statistics_enabled(server):
        server.watch.shown(_id(params))


def did_accept(server: CodeLlamaServer, params: Any) -> None:
    """Record that the rest of an item was accepted."""
    if statistics_enabled(server):
        server.watch.accepted(_id(params))


def did_partially_accept(server: CodeLlamaServer, params: Any) -> None:
    """Record that part of an item was accepted: ``characters``, if the document was not changed before."""
    characters = getattr(params, "characters", 0)
    if statistics_enabled(server):
        server.watch.partly_accepted(_id(params), max(characters, 0) if isinstance(characters, int) else 0)


def accepted(server: CodeLlamaServer, *arguments: Any) -> None:
    """Record that an item was accepted (``workspace/executeCommand``). Any arguments are safe."""
    if arguments and statistics_enabled(server):
        server.watch.accepted(str(arguments[0]))


async def stats(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """Return the figures of the last ``days`` (default 30), as ``codellama-ls stats --json`` prints them."""
    days = getattr(params, "days", None)
    await asyncio.to_thread(server.statistics.flush)
    return await asyncio.to_thread(
        recent_figures, min(max(days, 1), LONGEST_DAYS) if isinstance(days, int) else USUAL_DAYS
    )


def today(server: CodeLlamaServer) -> dict[str, Any] | None:
    """Return today's counts over all editor sessions, for the status; None if they are not known."""
    known = server.statistics.today
    if known is None or not server.settings.statistics.enabled:
        return None
    acceptance = round(known.accepted / known.shown, 4) if known.shown else None
    return {"shown": known.shown, "accepted": known.accepted, "acceptance": acceptance}


def _id(params: Any) -> str:
    return str(getattr(params, "id", ""))
