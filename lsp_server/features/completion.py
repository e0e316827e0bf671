"""``textDocument/completion``: the same suggestion as a list entry, for editors without inline completion."""

from __future__ import annotations

import re

from lsprotocol import types

from lsp_server.features.usage_statistics import DisplayedItem
from lsp_server.lsp.completion_request import ask
from lsp_server.lsp.documents import freeze
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Snapshot, units

LONGEST_LABEL = 60
LONGEST_WORD = 200
"""Looking for the start of a longer one takes quadratic time."""


def register(server: CodeLlamaServer) -> None:
    """Only for clients that know no inline completion (``lifecycle``): others would show everything twice."""
    options = types.CompletionOptions(trigger_characters=[".", "(", " ", "="])
    server.feature(types.TEXT_DOCUMENT_COMPLETION, options)(completion)


async def completion(server: CodeLlamaServer, params: types.CompletionParams) -> types.CompletionList:
    """At most one entry; incomplete, so that the client asks again as the person types on."""
    snapshot = freeze(server, params.text_document, params.position)
    kind = params.context.trigger_kind if params.context else types.CompletionTriggerKind.Invoked
    invoked = kind == types.CompletionTriggerKind.Invoked
    offers = await ask(server, snapshot, invoked=invoked) if snapshot else []
    items = [_item(snapshot, offer, server.keeps_lines) for offer in offers if snapshot]
    return types.CompletionList(is_incomplete=True, items=items)


def _item(snapshot: Snapshot, offer: DisplayedItem, keeps_lines: bool) -> types.CompletionItem:
    """Replaces the word being typed, so that clients that filter by it keep the entry."""
    found = re.search(r"\w*$", snapshot.left[-LONGEST_WORD:])
    word = found.group() if found else ""
    here = snapshot.here()
    start = types.Position(here.line, here.character - units(word, snapshot.encoding))
    line_end = "\n" if keeps_lines else snapshot.line_end
    new_text = (word + offer.text).replace("\n", line_end)
    first = new_text.strip().splitlines()[0]
    return types.CompletionItem(
        label=first if len(first) <= LONGEST_LABEL else first[: LONGEST_LABEL - 1] + "…",
        kind=types.CompletionItemKind.Text,
        detail="Code Llama",
        documentation=word + offer.text,
        filter_text=word or None,
        sort_text="\uffff",  # behind what other servers know for certain
        insert_text_mode=types.InsertTextMode.AsIs,
        text_edit=types.TextEdit(types.Range(start, types.Position(here.line, here.character)), new_text),
        command=offer.command,
    )
