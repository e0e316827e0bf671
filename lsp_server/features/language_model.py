"""``codellama/answer``: the chat model for who keeps conversations itself, such as an editor's list of models.

Parameters are ``messages`` (``role``: system, user or assistant; ``content``), all of the conversation each time, and
the tokens of ``partialResultToken`` and ``workDoneToken``. The answer streams as ``$/progress`` with ``{text}``; the
response has all of it. ``codellama/answer/model`` tells which model that is and how much it takes. Knows no files: what
is in the messages is all that the model reads.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from inference.api.errors import EngineError
from inference.api.events import Sampling
from inference.api.requests import ChatRequest
from inference.text.prompts import Message
from lsp_server.lsp.chat_stream import ChatAnswer, answer, engine_of, finish_reason
from lsp_server.lsp.params import member, token
from lsp_server.lsp.progress import under
from lsp_server.session import CodeLlamaServer

METHOD = "codellama/answer"
TITLE = "Code Llama answers"
ROLES = ("system", "user", "assistant")


def register(server: CodeLlamaServer) -> None:
    """Two requests of our own."""
    server.feature(METHOD)(answered)
    server.feature(f"{METHOD}/model")(model)


async def answered(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """Raises JsonRpcException."""
    messages = tuple(_message(one) for one in member(params, "messages", list, []))
    if not messages or messages[-1].role != "user":
        raise JsonRpcInvalidParams("The last of 'messages' must be the user's.")
    link, to = engine_of(server), token(params, "partialResultToken")
    request, said = ChatRequest(messages, sampling=Sampling(max_tokens=server.settings.chat.max_tokens)), ChatAnswer()
    async with under(server, token(params, "workDoneToken"), TITLE):
        await answer(link, request, said, partial(_tell, server, to))
    return {"text": said.text, "finishReason": finish_reason(said.outcome)}


async def model(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """``model`` (empty while none is known), ``context`` in tokens (null where that is not known), ``maxTokens``."""
    del params
    link, context = server.link, None
    if link is not None:
        with suppress(EngineError):
            context = await link.chat_context()
    name = link.status.chat_model if link is not None else ""
    return {"model": name, "context": context, "maxTokens": server.settings.chat.max_tokens}


def _message(one: Any) -> Message:
    role = member(one, "role", str, "")
    if role not in ROLES:
        raise JsonRpcInvalidParams(f"The 'role' of a message must be one of {', '.join(ROLES)}.")
    return Message(role, member(one, "content", str, ""))


def _tell(server: CodeLlamaServer, to: str | int | None, text: str) -> None:
    if to is not None:
        server.progress(types.ProgressParams(to, {"text": text}))
