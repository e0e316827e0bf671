"""Build a ``WorkspaceEdit`` with the features that the client supports: versions, and confirmation by the user.

An edit changes one document or creates one file. The model's output never chooses which.
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
    """Return an edit that applies ``hunks`` to this version of a document.

    With ``confirm`` the client shows them first. Check ``annotates`` before.
    """
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
    """Return an edit that creates a file. It fails if the file exists."""
    start = types.Range(types.Position(0, 0), types.Position(0, 0))
    options = types.CreateFileOptions(overwrite=False, ignore_if_exists=False)
    created = types.CreateFile(uri, options=options, annotation_id=ANNOTATION if confirm else None)
    edit = types.AnnotatedTextEdit(ANNOTATION, start, text) if confirm else types.TextEdit(start, text)
    written = types.TextDocumentEdit(types.OptionalVersionedTextDocumentIdentifier(uri, None), [edit])
    return types.WorkspaceEdit(
        document_changes=[created, written], change_annotations=_annotations(title) if confirm else None
    )


async def apply(server: CodeLlamaServer, edit: types.WorkspaceEdit, title: str) -> str:
    """Send the edit to the client. Return why it was not applied; empty if it was."""
    try:
        response = await server.workspace_apply_edit_async(types.ApplyWorkspaceEditParams(edit, label=title))
    except JsonRpcException as error:
        return f"The editor did not apply the edit: {error.message.rstrip('.')}."
    return "" if response.applied else response.failure_reason or "The editor did not apply the edit."


def range_of(document: Document, start: int, stop: int) -> types.Range:
    """Convert offsets to a range in the client's code units."""
    first, last = document.position(start), document.position(stop)
    return types.Range(types.Position(first.line, first.character), types.Position(last.line, last.character))


def annotates(server: CodeLlamaServer) -> bool:
    """Return whether the client can ask the user before it applies an edit."""
    support = _capabilities(server)
    return support is not None and support.change_annotation_support is not None


def creates(server: CodeLlamaServer) -> bool:
    """Return whether the client can create a file."""
    support = _capabilities(server)
    return support is not None and types.ResourceOperationKind.Create in (support.resource_operations or ())


def _versions(server: CodeLlamaServer) -> bool:
    """Return whether the client takes versioned edits. Neovim announces only the file operations, which imply them."""
    support = _capabilities(server)
    return support is not None and bool(support.document_changes or support.resource_operations)


def _capabilities(server: CodeLlamaServer) -> types.WorkspaceEditClientCapabilities | None:
    workspace = server.client_capabilities.workspace
    return workspace.workspace_edit if workspace is not None else None


def _annotations(title: str) -> dict[str, types.ChangeAnnotation]:
    return {
        ANNOTATION: types.ChangeAnnotation(
            title, needs_confirmation=True, description="Written by a model. Review it before you accept it."
        )
    }
