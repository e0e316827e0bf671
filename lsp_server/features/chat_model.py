"""``codellama/answer``: the chat model without state, for clients that keep the conversations themselves.

An example is VS Code's list of language models. Parameters are ``messages`` (``role``: system, user or assistant;
``content``) with the whole conversation, ``partialResultToken`` and ``workDoneToken``. The text streams as
``$/progress`` with ``{text}``; the response has all of it. No files are added to the prompt.
``codellama/answer/model`` returns the model and its limits.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pygls.exceptions import JsonRpcInvalidParams

from inference.api.engine_errors import EngineError
from inference.api.events import Sampling
from inference.api.requests import ChatRequest
from inference.text.prompts import Message
from lsp_server.lsp.chat_stream import ChatResponse, finish_reason, require_backend, send_partial, stream_chat
from lsp_server.lsp.params import member, token
from lsp_server.lsp.work_done_progress import request_progress
from lsp_server.session import CodeLlamaServer

METHOD = "codellama/answer"
TITLE = "Code Llama answers"
ROLES = ("system", "user", "assistant")


def register(server: CodeLlamaServer) -> None:
    """Register the custom requests."""
    server.feature(METHOD)(answer)
    server.feature(f"{METHOD}/model")(model)


async def answer(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """Return the model's response to the messages. Raises JsonRpcException."""
    messages = tuple(_message(one) for one in member(params, "messages", list, []))
    if not messages or messages[-1].role != "user":
        raise JsonRpcInvalidParams("The last of 'messages' must have the role 'user'.")
    backend, partial_token = require_backend(server), token(params, "partialResultToken")
    request = ChatRequest(messages, sampling=Sampling(max_tokens=server.settings.chat.max_tokens))
    response = ChatResponse()
    async with request_progress(server, token(params, "workDoneToken"), TITLE):
        await stream_chat(backend, request, response, lambda text: send_partial(server, partial_token, {"text": text}))
    return {"text": response.text, "finishReason": finish_reason(response.outcome)}


async def model(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """Return ``model`` (empty if unknown), ``context`` in tokens (null if unknown) and ``maxTokens``."""
    del params
    backend, context = server.backend, None
    if backend is not None:
        with suppress(EngineError):
            context = await backend.chat_context()
    name = backend.status.chat_model if backend is not None else ""
    return {"model": name, "context": context, "maxTokens": server.settings.chat.max_tokens}


def _message(one: Any) -> Message:
    role = member(one, "role", str, "")
    if role not in ROLES:
        raise JsonRpcInvalidParams(f"The 'role' of a message must be one of {', '.join(ROLES)}.")
    return Message(role, member(one, "content", str, ""))
