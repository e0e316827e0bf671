"""Run one edit task: ask the model, validate its output, and build the edit or report why there is none.

Used by the code actions and commands on top of ``lsp_server.edits``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from lsprotocol import types

from inference.api.engine_errors import EngineError
from lsp_server.completion.gate import EDITABLE_SCHEMES
from lsp_server.edits.hunks import Hunk, apply_hunks
from lsp_server.edits.hunks import rebase_hunks as rebased
from lsp_server.edits.rewrite import ChatBackend, EditError, request_rewrite
from lsp_server.edits.tasks import EditTask
from lsp_server.edits.verify import parses_no_worse
from lsp_server.lsp.documents import current_document, path_of
from lsp_server.lsp.work_done_progress import Token, progress_bar
from lsp_server.lsp.workspace_edits import changing, creating
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Document


async def run_task(
    server: CodeLlamaServer, task: EditTask, title: str, *, confirm: bool, token: Token | None = None
) -> types.WorkspaceEdit | None:
    """Return the edit for a task; None if it failed, which the user is shown as a message."""
    try:
        async with progress_bar(server, f"Code Llama: {title}", token) as report:
            rewrite = await request_rewrite(
                require_chat(server), task, report_lines(report), keeps_lines=server.keeps_lines
            )
        if task.into:
            # a client that stores lines adds the last line end itself
            text = rewrite.text.removesuffix("\n") if server.keeps_lines else rewrite.text
            return creating(sibling_uri(task.document.uri, task.into), text, title, confirm=confirm)
        document, hunks = rebase_hunks(server, task.document, rewrite.hunks)
        return changing(server, document, hunks, title, confirm=confirm)
    except (EditError, EngineError) as error:
        report_failure(server, title, error)
        return None


def require_chat(server: CodeLlamaServer) -> ChatBackend:
    """Return the backend. Raises EditError if there is none."""
    if server.backend is None:
        raise EditError("The server has not been initialised or is shutting down.")
    return server.backend


def rebase_hunks(
    server: CodeLlamaServer, document: Document, hunks: tuple[Hunk, ...]
) -> tuple[Document, tuple[Hunk, ...]]:
    """Move hunks to the newest version of their document. Raises EditError if they conflict with it."""
    now = current_document(server, document.uri)
    if now is None:
        raise EditError("The document was closed meanwhile.")
    moved = rebased(document.text, hunks, now.text)
    if moved is None:
        raise EditError("The same lines of the document were changed meanwhile. Try again.")
    if now.text != document.text and not parses_no_worse(now.language, now.text, apply_hunks(now.text, moved)):
        raise EditError("The edit does not fit the document, which was changed meanwhile. Try again.")
    return now, tuple(moved)


async def unreadable_reason(server: CodeLlamaServer, document: Document) -> str:
    """Return why a document must not be sent to a model; empty if it may be."""
    settings, path = server.settings.completion, path_of(document.uri)
    if document.uri.partition(":")[0].lower() not in EDITABLE_SCHEMES:
        return "The document is not one that is written by hand."
    if len(document.text) > settings.max_file_chars:
        return "The document is longer than completion.maxFileChars allows."
    if path is not None and await server.why_private(path):
        return "The file is private: no model may read it."
    return ""


def sibling_uri(uri: str, name: str) -> str:
    """Return the URI of the file ``name`` in the same folder. ``name`` is chosen by the server and is no path."""
    return uri[: uri.rfind("/") + 1] + quote(name)


def can_create(uri: str, name: str) -> bool:
    """Return whether a document has a folder in which no file ``name`` exists yet."""
    path = path_of(uri) if uri.startswith("file:") else None
    return path is not None and not Path(path).with_name(name).exists()


def report_lines(report: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that reports the number of lines of a growing text."""
    return lambda text: report(f"{text.count(chr(10)) + 1} lines")


def report_failure(server: CodeLlamaServer, title: str, error: Exception) -> None:
    """Show the user that a task failed and why."""
    text = f"codellama-ls: “{title}” failed. {error}"
    server.window_show_message(types.ShowMessageParams(types.MessageType.Warning, text))
