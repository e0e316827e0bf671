"""``textDocument/completion``: the completion as a list entry, for editors without inline completion."""

from __future__ import annotations

import re

from lsprotocol import types

from lsp_server.lsp.completion_request import request_completions
from lsp_server.lsp.displayed_items import DisplayedItem
from lsp_server.lsp.documents import freeze
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Snapshot, units

MAX_LABEL = 60
MAX_WORD = 200
"""Characters searched for the start of the current word. The pattern takes quadratic time."""


def register(server: CodeLlamaServer) -> None:
    """Register the method, only for clients without inline completion: others would show each text twice."""
    options = types.CompletionOptions(trigger_characters=[".", "(", " ", "="])
    server.feature(types.TEXT_DOCUMENT_COMPLETION, options)(completion)


async def completion(server: CodeLlamaServer, params: types.CompletionParams) -> types.CompletionList:
    """Return at most one entry. The list is incomplete, so the client sends a request at each keystroke."""
    snapshot = freeze(server, params.text_document, params.position)
    kind = params.context.trigger_kind if params.context else types.CompletionTriggerKind.Invoked
    invoked = kind == types.CompletionTriggerKind.Invoked
    displayed = await request_completions(server, snapshot, invoked=invoked) if snapshot else []
    items = [_item(snapshot, item, server.keeps_lines) for item in displayed if snapshot]
    return types.CompletionList(is_incomplete=True, items=items)


def _item(snapshot: Snapshot, item: DisplayedItem, keeps_lines: bool) -> types.CompletionItem:
    """Replace the word being typed, so that clients that filter by it keep the entry."""
    found = re.search(r"\w*$", snapshot.left[-MAX_WORD:])
    word = found.group() if found else ""
    here = snapshot.here()
    start = types.Position(here.line, here.character - units(word, snapshot.encoding))
    line_end = "\n" if keeps_lines else snapshot.line_end
    new_text = (word + item.text).replace("\n", line_end)
    first = new_text.strip().splitlines()[0]
    return types.CompletionItem(
        label=first if len(first) <= MAX_LABEL else first[: MAX_LABEL - 1] + "…",
        kind=types.CompletionItemKind.Text,
        detail="Code Llama",
        documentation=word + item.text,
        filter_text=word or None,
        sort_text="\uffff",  # after the entries of other servers
        insert_text_mode=types.InsertTextMode.AsIs,
        text_edit=types.TextEdit(types.Range(start, types.Position(here.line, here.character)), new_text),
        command=item.command,
    )
