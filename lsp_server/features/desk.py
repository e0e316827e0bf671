"""What lies before a person who asks something: the documents, the selection and the diagnostics of a request."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

from lsp_server.chat.gathering import Desk, Selected
from lsp_server.context.gather import OpenFile
from lsp_server.features.documents import path_of, whole
from lsp_server.features.params import document_uri, failed, member, span
from lsp_server.features.surroundings import open_files
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Position, take

MOST_DIAGNOSTICS = 50
LONGEST_MESSAGE = 1_000

_SEVERITIES = {1: "error", 2: "warning", 3: "information", 4: "hint"}


def desk_of(server: CodeLlamaServer, params: Any) -> Desk:
    """As things are now, so that nothing typed later counts; to be called before any await.

    ``params`` may have ``textDocument``, ``range`` and ``diagnostics`` (what the editor shows of other servers).
    Raises JsonRpcException.
    """
    uri = document_uri(params)
    documents = [replace(file, path=path_of(file.uri)) for file in open_files(server)]  # a notebook cell has a file too
    current = next((file for file in documents if file.uri == uri), None)
    if uri and current is None:
        raise failed("The editor has not opened this document, so nothing of it can be shown to the model.")
    chosen, found = span(params), member(params, "diagnostics", list, [])
    return Desk(
        folders=server.folders,
        excluded=server.settings.completion.excluded_files,
        documents=documents,
        current=current,
        selected=_selected(server, uri, chosen) if current and chosen else None,
        diagnostics=[_described(one, current) for one in found[:MOST_DIAGNOSTICS]] if current else (),
        report=partial(asyncio.get_running_loop().call_soon_threadsafe, server.warn_once),
    )


def _selected(server: CodeLlamaServer, uri: str, chosen: tuple[Position, Position]) -> Selected:
    document = whole(server, uri)
    assert document is not None, "it is the current one"
    start, stop = (take(document.text, position, document.encoding) for position in chosen)
    return Selected(stop.before[len(start.before) :], start.line + 1)


def _described(diagnostic: Any, file: OpenFile) -> str:
    """One line: where, how bad, what; and the line of code that it is about."""
    place = span(diagnostic)
    line = place[0].line if place else 0
    rows = file.text.split("\n")
    given = getattr(diagnostic, "severity", None)
    severity = _SEVERITIES.get(given, "error") if type(given) is int else "error"
    message = " ".join(member(diagnostic, "message", str, "").split())[:LONGEST_MESSAGE]
    names = [getattr(diagnostic, name, None) for name in ("source", "code")]
    named = " ".join(str(name) for name in names if isinstance(name, str | int))
    code = f"\n    {rows[line].strip()}" if line < len(rows) else ""
    return f"line {line + 1}: {severity}: {message}{f' ({named})' if named else ''}{code}"
