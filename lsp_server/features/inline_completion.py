"""``textDocument/inlineCompletion`` (LSP 3.18): grey text at the cursor."""

from __future__ import annotations

from typing import NamedTuple

from lsprotocol import types

from lsp_server.lsp.completion_request import request_completions
from lsp_server.lsp.documents import freeze
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Position, Snapshot


def register(server: CodeLlamaServer) -> None:
    """Register the method. Without options pygls would not announce it."""
    server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())(inline_completion)


async def inline_completion(
    server: CodeLlamaServer, params: types.InlineCompletionParams
) -> list[types.InlineCompletionItem]:
    """Return one item, or several if invoked explicitly. An empty list clears the display; null does not (Neovim)."""
    snapshot = freeze(server, params.text_document, params.position)
    if snapshot is None:
        return []
    selected = params.context.selected_completion_info
    completed = _with_selected(snapshot, selected) if selected else snapshot
    invoked = params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked
    count = server.settings.completion.alternatives if invoked else 1
    displayed = await request_completions(
        server, completed or snapshot, invoked=invoked, misplaced=completed is None, count=count
    )
    line_end = "\n" if server.keeps_lines else snapshot.line_end
    items = []
    for text, command in displayed:
        item = _extending(selected, text) if selected else _whole_line(snapshot, text)
        insert_text = item.text.replace("\n", line_end)
        items.append(types.InlineCompletionItem(insert_text, range=item.range, command=command))
    return items


class _Item(NamedTuple):
    text: str
    range: types.Range


def _with_selected(snapshot: Snapshot, selected: types.SelectedCompletionInfo) -> Snapshot | None:
    """Return the document as if the entry selected in the list was inserted; None if the cursor is not in its range."""
    start, stop = selected.range.start, selected.range.end
    return snapshot.selecting(Position(start.line, start.character), Position(stop.line, stop.character), selected.text)


def _extending(selected: types.SelectedCompletionInfo, text: str) -> _Item:
    """Extend the selected entry: clients show no other items while a completion list is open (LSP 3.18)."""
    return _Item(selected.text.replace("\r\n", "\n") + text, selected.range)


def _whole_line(snapshot: Snapshot, text: str) -> _Item:
    """Replace the whole line: the one form that VS Code and Neovim render and insert alike."""
    start, stop = snapshot.line_start(), snapshot.line_stop()
    span = types.Range(types.Position(start.line, start.character), types.Position(stop.line, stop.character))
    return _Item(snapshot.left + text + snapshot.right, span)
