"""``codellama/commitMessage``: write a commit message for the staged changes. A custom request.

``repository``, the URI of a folder, or ``textDocument`` selects the repository; the default is that of the first
workspace folder. With a ``partialResultToken`` the message streams as ``$/progress`` with ``{text}``. The response has
all of it.
"""

from __future__ import annotations

from typing import Any

from inference.api.events import Sampling
from inference.api.requests import ChatRequest
from inference.text.prompts import Message
from lsp_server.chat.attachments import attachments_text, fit_attachments
from lsp_server.chat.chat_context import AttachmentError, diff_attachments
from lsp_server.chat.markdown import code_blocks
from lsp_server.lsp.chat_stream import ChatResponse, finish_reason, require_backend, send_partial, stream_chat
from lsp_server.lsp.documents import chat_context_of, path_of
from lsp_server.lsp.params import member, request_failed, token
from lsp_server.lsp.work_done_progress import request_progress
from lsp_server.prompts.templates import messages_for
from lsp_server.session import CodeLlamaServer

COMMIT_MESSAGE = "codellama/commitMessage"
TITLE = "Code Llama writes a commit message"
MAX_TOKENS = 256


def register(server: CodeLlamaServer) -> None:
    """Register the custom request."""
    server.feature(COMMIT_MESSAGE)(commit_message)


async def commit_message(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """Return the message. Raises JsonRpcException, also if nothing is staged."""
    context, backend = chat_context_of(server, params), require_backend(server)
    partial_token, work_token = token(params, "partialResultToken"), token(params, "workDoneToken")
    folder = member(params, "repository", str, "")
    try:
        diff, left_out = await diff_attachments(context, path_of(folder) if folder else None, staged=True)
    except AttachmentError as error:
        raise request_failed(str(error)) from error
    kept, lost = fit_attachments(diff, server.settings.chat.context_chars)
    fields = {"diff": attachments_text(kept), "question": "", "context": "", "code": "", "problems": ""}
    messages = messages_for("commit", fields, server.warn_once)
    sampling = Sampling(max_tokens=min(MAX_TOKENS, server.settings.chat.max_tokens))
    request, response = ChatRequest(tuple(Message(**one) for one in messages), sampling=sampling), ChatResponse()
    async with request_progress(server, work_token, TITLE):
        await stream_chat(backend, request, response, lambda text: send_partial(server, partial_token, {"text": text}))
    message = _without_fence(response.text)
    if not message:
        raise request_failed("The model returned an empty message. Try again.")
    missing = [{"title": one.title, "why": one.why} for one in (*left_out, *lost)]
    shortened = any(one.shortened for one in kept)
    return {
        "message": message,
        "finishReason": finish_reason(response.outcome),
        "shortened": shortened,
        "leftOut": missing,
    }


def _without_fence(text: str) -> str:
    """Return the message without a fenced code block around all of it."""
    text = text.strip()
    blocks = code_blocks(text)
    if blocks and blocks[0].start == 0 and blocks[0].stop >= text.count("\n"):
        return blocks[0].code.strip()
    return text
