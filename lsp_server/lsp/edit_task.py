"""A task done: the model asked, the answer checked, and the document as it is by then changed. Or the truth said.

Between the features that a person reaches this through (code actions, commands) and ``lsp_server.edits``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from lsprotocol import types

from inference.api.errors import EngineError
from lsp_server.completion.gate import WRITTEN
from lsp_server.edits.hunks import Hunk, applied, rebased
from lsp_server.edits.rewrite import Chatter, CouldNotError, rewritten
from lsp_server.edits.tasks import EditTask
from lsp_server.edits.verify import parses_no_worse
from lsp_server.lsp.documents import path_of, whole
from lsp_server.lsp.progress import Token, at_work
from lsp_server.lsp.workspace_edits import changing, creating
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Document


async def done(
    server: CodeLlamaServer, task: EditTask, title: str, *, confirm: bool, token: Token | None = None
) -> types.WorkspaceEdit | None:
    """The edit that does the task; None where nothing came of it, which the person has been told then."""
    try:
        async with at_work(server, f"Code Llama: {title}", token) as say:
            rewrite = await rewritten(engine(server), task, in_lines(say), keeps_lines=server.keeps_lines)
        if task.into:
            text = rewrite.text.removesuffix("\n") if server.keeps_lines else rewrite.text  # its last line has an end
            return creating(beside(task.document.uri, task.into), text, title, confirm=confirm)
        document, hunks = as_it_is_now(server, task.document, rewrite.hunks)
        return changing(server, document, hunks, title, confirm=confirm)
    except (CouldNotError, EngineError) as why:
        sorry(server, title, why)
        return None


def engine(server: CodeLlamaServer) -> Chatter:
    """Raises CouldNotError where there is none to ask."""
    if server.link is None:
        raise CouldNotError("The server has not been initialised or is shutting down.")
    return server.link


def as_it_is_now(
    server: CodeLlamaServer, document: Document, hunks: tuple[Hunk, ...]
) -> tuple[Document, tuple[Hunk, ...]]:
    """The same changes in the document's newest version. Raises CouldNotError where that is not sure."""
    now = whole(server, document.uri)
    if now is None:
        raise CouldNotError("The document was closed meanwhile.")
    moved = rebased(document.text, hunks, now.text)
    if moved is None:
        raise CouldNotError("The document was changed in the same lines meanwhile. Ask again.")
    if now.text != document.text and not parses_no_worse(now.language, now.text, applied(now.text, moved)):
        raise CouldNotError("It does not fit the document as it was changed meanwhile. Ask again.")
    return now, tuple(moved)


async def refusal(server: CodeLlamaServer, document: Document) -> str:
    """Return why a document is not for a model to read, if so."""
    settings, path = server.settings.completion, path_of(document.uri)
    if document.uri.partition(":")[0].lower() not in WRITTEN:
        return "The document is not one that is written by hand."
    if len(document.text) > settings.max_file_chars:
        return "The document is longer than completion.maxFileChars allows."
    if path is not None and await server.why_private(path):
        return "The file is private: no model may read it."
    return ""


def beside(uri: str, name: str) -> str:
    """The URI of a file in the same folder. ``name`` is ours, and no path."""
    return uri[: uri.rfind("/") + 1] + quote(name)


def is_free(uri: str, name: str) -> bool:
    """Is there a folder to put a file of that name into, beside a document, and none there yet?"""
    path = path_of(uri) if uri.startswith("file:") else None
    return path is not None and not Path(path).with_name(name).exists()


def in_lines(say: Callable[[str], None]) -> Callable[[str], None]:
    """Says how long a growing answer is, no oftener than a person reads."""
    return lambda text: say(f"{text.count(chr(10)) + 1} lines")


def sorry(server: CodeLlamaServer, title: str, why: Exception) -> None:
    """Tell the person that nothing came of it."""
    text = f"codellama-ls: “{title}” didn't work out. {why}"
    server.window_show_message(types.ShowMessageParams(types.MessageType.Warning, text))
