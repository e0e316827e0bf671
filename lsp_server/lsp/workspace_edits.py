"""Changes as a ``WorkspaceEdit``, as far as the client can take one: versioned, and asking before it is applied.

One document, or one new file; nothing a model says chooses which.
"""

from __future__ import annotations

from collections.abc import Sequence

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from lsp_server.edits.hunks import Hunk
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Document

ANNOTATION = "codellama"


def changing(
    server: CodeLlamaServer, document: Document, hunks: Sequence[Hunk], title: str, *, confirm: bool
) -> types.WorkspaceEdit:
    """``hunks`` of this version of a document. With ``confirm``, a client that can shows them first."""
    edits = [types.TextEdit(range_of(document, hunk.start, hunk.stop), hunk.new) for hunk in hunks]
    if not _versions(server):
        return types.WorkspaceEdit(changes={document.uri: edits})
    of = types.OptionalVersionedTextDocumentIdentifier(document.uri, document.version)
    if not confirm:
        return types.WorkspaceEdit(document_changes=[types.TextDocumentEdit(of, edits)])
    annotated = [types.AnnotatedTextEdit(ANNOTATION, edit.range, edit.new_text) for edit in edits]
    return types.WorkspaceEdit(
        document_changes=[types.TextDocumentEdit(of, annotated)], change_annotations=_annotations(title)
    )


def creating(uri: str, text: str, title: str, *, confirm: bool) -> types.WorkspaceEdit:
    """A new file; one that is there already makes the edit fail."""
    start = types.Range(types.Position(0, 0), types.Position(0, 0))
    options = types.CreateFileOptions(overwrite=False, ignore_if_exists=False)
    created = types.CreateFile(uri, options=options, annotation_id=ANNOTATION if confirm else None)
    edit = types.AnnotatedTextEdit(ANNOTATION, start, text) if confirm else types.TextEdit(start, text)
    written = types.TextDocumentEdit(types.OptionalVersionedTextDocumentIdentifier(uri, None), [edit])
    return types.WorkspaceEdit(
        document_changes=[created, written], change_annotations=_annotations(title) if confirm else None
    )


async def apply(server: CodeLlamaServer, edit: types.WorkspaceEdit, title: str) -> str:
    """Have the client apply it; an empty string, or why it has not."""
    try:
        answer = await server.workspace_apply_edit_async(types.ApplyWorkspaceEditParams(edit, label=title))
    except JsonRpcException as error:
        return f"The editor did not apply the edit: {error.message.rstrip('.')}."
    return "" if answer.applied else answer.failure_reason or "The editor did not apply the edit."


def range_of(document: Document, start: int, stop: int) -> types.Range:
    """In the client's units."""
    first, last = document.position(start), document.position(stop)
    return types.Range(types.Position(first.line, first.character), types.Position(last.line, last.character))


def annotates(server: CodeLlamaServer) -> bool:
    """Can the client ask about an edit before it applies it?"""
    can = _capabilities(server)
    return can is not None and can.change_annotation_support is not None


def creates(server: CodeLlamaServer) -> bool:
    """Can the client make a file?"""
    can = _capabilities(server)
    return can is not None and types.ResourceOperationKind.Create in (can.resource_operations or ())


def _versions(server: CodeLlamaServer) -> bool:
    """Neovim names the file operations it knows, which come in the same form, and not the form."""
    can = _capabilities(server)
    return can is not None and bool(can.document_changes or can.resource_operations)


def _capabilities(server: CodeLlamaServer) -> types.WorkspaceEditClientCapabilities | None:
    workspace = server.client_capabilities.workspace
    return workspace.workspace_edit if workspace is not None else None


def _annotations(title: str) -> dict[str, types.ChangeAnnotation]:
    return {
        ANNOTATION: types.ChangeAnnotation(
            title, needs_confirmation=True, description="Written by a model: look at it before you take it."
        )
    }
