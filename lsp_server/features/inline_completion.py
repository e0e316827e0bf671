"""``textDocument/inlineCompletion`` (LSP 3.18): grey text at the cursor."""

from __future__ import annotations

from lsprotocol import types

from lsp_server.features.asking import ask
from lsp_server.features.documents import freeze
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Snapshot


def register(server: CodeLlamaServer) -> None:
    """Options must be given, or pygls advertises nothing."""
    server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())(inline_completion)


async def inline_completion(
    server: CodeLlamaServer, params: types.InlineCompletionParams
) -> list[types.InlineCompletionItem]:
    """At most one item. An empty list clears what is shown; null would leave it (Neovim)."""
    snapshot = freeze(server, params.text_document, params.position)
    if snapshot is None:
        return []
    invoked = params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked
    text = await ask(server, snapshot, invoked=invoked)
    return [_item(snapshot, text, server.keeps_lines)] if text else []


def _item(snapshot: Snapshot, text: str, keeps_lines: bool) -> types.InlineCompletionItem:
    """The whole line, with what already stands on it: the one form that VS Code and Neovim show and insert alike."""
    line_end = "\n" if keeps_lines else snapshot.line_end
    start, stop = snapshot.line_start(), snapshot.line_stop()
    return types.InlineCompletionItem(
        insert_text=(snapshot.left + text + snapshot.right).replace("\n", line_end),
        range=types.Range(types.Position(start.line, start.character), types.Position(stop.line, stop.character)),
    )
