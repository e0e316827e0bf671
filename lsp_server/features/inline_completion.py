"""``textDocument/inlineCompletion`` (LSP 3.18): grey text at the cursor."""

from __future__ import annotations

from typing import NamedTuple

from lsprotocol import types

from lsp_server.lsp.completion_request import ask
from lsp_server.lsp.documents import freeze
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Position, Snapshot


def register(server: CodeLlamaServer) -> None:
    """Options must be given, or pygls advertises nothing."""
    server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())(inline_completion)


async def inline_completion(
    server: CodeLlamaServer, params: types.InlineCompletionParams
) -> list[types.InlineCompletionItem]:
    """One item; by hand, alternatives too. An empty list clears what is shown; null would leave it (Neovim)."""
    snapshot = freeze(server, params.text_document, params.position)
    if snapshot is None:
        return []
    selected = params.context.selected_completion_info
    seen = _with_selected(snapshot, selected) if selected else snapshot
    invoked = params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked
    most = server.settings.completion.alternatives if invoked else 1
    offers = await ask(server, seen or snapshot, invoked=invoked, misplaced=seen is None, most=most)
    line_end = "\n" if server.keeps_lines else snapshot.line_end
    items = []
    for text, command in offers:
        item = _extending(selected, text) if selected else _whole_line(snapshot, text)
        inserted = item.text.replace("\n", line_end)
        items.append(types.InlineCompletionItem(inserted, range=item.where, command=command))
    return items


class _Item(NamedTuple):
    text: str
    where: types.Range


def _with_selected(snapshot: Snapshot, selected: types.SelectedCompletionInfo) -> Snapshot | None:
    """The document as if the list's selected entry had been taken; None where that entry stands elsewhere."""
    start, stop = selected.range.start, selected.range.end
    return snapshot.selecting(Position(start.line, start.character), Position(stop.line, stop.character), selected.text)


def _extending(selected: types.SelectedCompletionInfo, text: str) -> _Item:
    """The selected entry with more behind it: other items are not shown while a list is open (LSP 3.18)."""
    return _Item(selected.text.replace("\r\n", "\n") + text, selected.range)


def _whole_line(snapshot: Snapshot, text: str) -> _Item:
    """The whole line, with what already stands on it: the one form that VS Code and Neovim show and insert alike."""
    start, stop = snapshot.line_start(), snapshot.line_stop()
    where = types.Range(types.Position(start.line, start.character), types.Position(stop.line, stop.character))
    return _Item(snapshot.left + text + snapshot.right, where)
