"""``codellama/commitMessage``: a message for what is staged (our own request).

``repository``, the URI of its folder, or ``textDocument`` may say which one is meant; else it is that of the window's
first folder. The message streams as ``$/progress`` with ``{text}`` under a ``partialResultToken``; the response has all
of it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from lsprotocol import types

from inference.api.events import Sampling
from inference.api.requests import ChatRequest
from inference.text.prompts import Message
from lsp_server.chat.attachments import fit, written
from lsp_server.chat.chat_context import RefusedMention, changes
from lsp_server.chat.markdown import code_blocks
from lsp_server.features.lifecycle import say_once
from lsp_server.lsp.chat_stream import ChatAnswer, answer, engine_of, finish_reason
from lsp_server.lsp.documents import chat_context_of, path_of
from lsp_server.lsp.params import failed, member, token
from lsp_server.lsp.progress import under
from lsp_server.prompts.templates import messages_for
from lsp_server.session import CodeLlamaServer

COMMIT_MESSAGE = "codellama/commitMessage"
TITLE = "Code Llama writes a commit message"
MOST_TOKENS = 256


def register(server: CodeLlamaServer) -> None:
    """A request of our own."""
    server.feature(COMMIT_MESSAGE)(commit_message)


async def commit_message(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """Raises JsonRpcException, also where nothing is staged."""
    desk, link = chat_context_of(server, params), engine_of(server)
    to, work_token = token(params, "partialResultToken"), token(params, "workDoneToken")
    folder = member(params, "repository", str, "")
    try:
        diff, left_out = await changes(desk, path_of(folder) if folder else None, staged=True)
    except RefusedMention as refusal:
        raise failed(str(refusal)) from refusal
    kept, lost = fit(diff, server.settings.chat.context_chars)
    fields = {"diff": written(kept), "question": "", "context": "", "code": "", "problems": ""}
    messages = messages_for("commit", fields, partial(say_once, server, types.MessageType.Warning))
    sampling = Sampling(max_tokens=min(MOST_TOKENS, server.settings.chat.max_tokens))
    request, said = ChatRequest(tuple(Message(**one) for one in messages), sampling=sampling), ChatAnswer()
    async with under(server, work_token, TITLE):
        await answer(link, request, said, partial(_tell, server, to))
    message = _bare(said.text)
    if not message:
        raise failed("The model wrote no message.")
    missing = [{"title": one.title, "why": one.why} for one in (*left_out, *lost)]
    shortened = any(piece.shortened for piece in kept)
    return {
        "message": message,
        "finishReason": finish_reason(said.outcome),
        "shortened": shortened,
        "leftOut": missing,
    }


def _bare(text: str) -> str:
    """A message that the model wrote into a fenced block is taken out of it; nothing else is changed."""
    text = text.strip()
    blocks = code_blocks(text)
    if blocks and blocks[0].start == 0 and blocks[0].stop >= text.count("\n"):
        return blocks[0].code.strip()
    return text


def _tell(server: CodeLlamaServer, to: str | int | None, text: str) -> None:
    if to is not None:
        server.progress(types.ProgressParams(to, {"text": text}))
