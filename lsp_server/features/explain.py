"""The *Explain* command: open the chat about the selection, or show Markdown in clients without a chat."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from inference.api.engine_errors import EngineError
from inference.api.events import TextChunk
from inference.api.requests import ChatRequest
from inference.text.prompts import Message
from lsp_server.edits.rewrite import EditError
from lsp_server.edits.target import find_target
from lsp_server.edits.tasks import EditTask, file_name, prompt_fields
from lsp_server.lsp.documents import current_document
from lsp_server.lsp.edit_task import report_failure, report_lines, require_chat, unreadable_reason
from lsp_server.lsp.params import announces, member, offsets
from lsp_server.lsp.show_document import show_markdown
from lsp_server.lsp.work_done_progress import progress_bar, run_in_background
from lsp_server.prompts.templates import messages_for
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Document

TITLE = "Explain"
EXPLAIN = "codellama.explain"
"""Server command."""
CHAT = "codellama.openChat"
"""Client command: open the chat about a range, with a slash prompt."""


def register(server: CodeLlamaServer) -> None:
    """Register the command."""
    server.command(EXPLAIN)(explain)


def commands(server: CodeLlamaServer, document: Document, where: types.Range) -> list[types.CodeAction | types.Command]:
    """Return the command that this client supports, if any."""
    if not document.text.strip():
        return []
    argument = {"uri": document.uri, "range": where}
    if announces(server, "codellamaChat"):
        return [types.Command(TITLE, CHAT, arguments=[{**argument, "prompt": "/explain"}])]
    window = server.client_capabilities.window
    if window is None or window.show_document is None or not window.show_document.support:
        return []
    return [types.Command(TITLE, EXPLAIN, arguments=[argument])]


async def explain(server: CodeLlamaServer, *arguments: Any) -> None:
    """Start the explanation as a background task and respond immediately."""
    argument = arguments[0] if arguments else None
    document = current_document(server, member(argument, "uri", str, ""))
    if document is None:
        raise JsonRpcInvalidParams("This document is not open in the editor.")
    if reason := await unreadable_reason(server, document):
        raise JsonRpcInvalidParams(reason)
    start, stop = offsets(document, argument)
    target = find_target(document.language, document.text, start, stop)
    run_in_background(server, _explain(server, EditTask("edit", document, target.start, target.stop)))


async def _explain(server: CodeLlamaServer, task: EditTask) -> None:
    try:
        async with progress_bar(server, f"Code Llama: {TITLE}") as report:
            text, report_text = "", report_lines(report)
            prompt = messages_for("explain", prompt_fields(task))
            messages = tuple(Message(one["role"], one["content"]) for one in prompt)
            async with aclosing(require_chat(server).chat(ChatRequest(messages))) as events:
                async for event in events:
                    text += event.text if isinstance(event, TextChunk) else ""
                    report_text(text)
        await show_markdown(server, f"Explained: {file_name(task.document.uri)}", text)
    except (EditError, EngineError) as error:
        report_failure(server, TITLE, error)
    except OSError as error:
        report_failure(server, TITLE, EditError(f"The text can't be written to a file: {error.strerror or error}."))
