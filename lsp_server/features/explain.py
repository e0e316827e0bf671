"""*Explain*: the chat opened with what is selected, or, in clients without a chat, Markdown in a document of its own.

Knows nothing of conversations.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from inference.api.errors import EngineError
from inference.api.events import TextChunk
from inference.api.requests import ChatRequest
from inference.text.prompts import Message
from lsp_server.edits.rewrite import CouldNotError
from lsp_server.edits.target import target_of
from lsp_server.edits.tasks import EditTask, fields, file_name
from lsp_server.lsp.documents import whole
from lsp_server.lsp.edit_task import engine, in_lines, refusal, sorry
from lsp_server.lsp.params import announces, member, offsets
from lsp_server.lsp.progress import at_work, beside
from lsp_server.lsp.show_document import show_markdown
from lsp_server.prompts.templates import messages_for
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Document

TITLE = "Explain"
EXPLAIN = "codellama.explain"
"""Our command."""
CHAT = "codellama.openChat"
"""A client's command: it opens the chat about a range, with a slash prompt to begin with."""


def register(server: CodeLlamaServer) -> None:
    """The command."""
    server.command(EXPLAIN)(explain)


def commands(server: CodeLlamaServer, document: Document, where: types.Range) -> list[types.CodeAction | types.Command]:
    """The way to an explanation that this client has, if any."""
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
    """Begin; the command itself is answered at once."""
    given = arguments[0] if arguments else None
    document = whole(server, member(given, "uri", str, ""))
    if document is None:
        raise JsonRpcInvalidParams("There is no such document open.")
    if why := await refusal(server, document):
        raise JsonRpcInvalidParams(why)
    start, stop = offsets(document, given)
    target = target_of(document.language, document.text, start, stop)
    beside(server, _explained(server, EditTask("edit", document, target.start, target.stop)))


async def _explained(server: CodeLlamaServer, task: EditTask) -> None:
    try:
        async with at_work(server, f"Code Llama: {TITLE}") as say:
            text, tell = "", in_lines(say)
            said = messages_for("explain", fields(task))
            turns = tuple(Message(one["role"], one["content"]) for one in said)
            async with aclosing(engine(server).chat(ChatRequest(turns))) as events:
                async for event in events:
                    text += event.text if isinstance(event, TextChunk) else ""
                    tell(text)
        await show_markdown(server, f"Explained: {file_name(task.document.uri)}", text)
    except (CouldNotError, EngineError) as why:
        sorry(server, TITLE, why)
    except OSError as error:
        sorry(server, TITLE, CouldNotError(f"The text can't be written to a file: {error.strerror or error}."))
