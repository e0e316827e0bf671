"""``codellama/chat`` and related custom requests: conversations about code, for editors with a chat.

A ``codellama/chat`` request has ``text`` and may have ``conversation`` (an id; without one a conversation begins),
``regenerate``, ``textDocument``, ``range``, ``diagnostics``, ``partialResultToken`` and ``workDoneToken``. The model's
text streams as ``$/progress`` with ``{conversation, text}``; the response has all of it. ``$/cancelRequest`` stops it;
the text up to then stays in the conversation.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from inference.api.engine_errors import EngineError
from inference.api.events import Outcome, Sampling
from inference.api.requests import ChatRequest
from lsp_server.backend.backend import Backend
from lsp_server.chat.attachments import Attachment, LeftOut
from lsp_server.chat.chat_context import AttachmentError
from lsp_server.chat.conversation import ChatTurn, Composed, Conversation, compose
from lsp_server.chat.markdown import code_blocks, to_markdown
from lsp_server.lsp.chat_stream import ChatResponse, finish_reason, require_backend, send_partial, stream_chat
from lsp_server.lsp.documents import chat_context_of
from lsp_server.lsp.params import member, request_failed, token
from lsp_server.lsp.work_done_progress import Token, request_progress
from lsp_server.session import CodeLlamaServer

CHAT = "codellama/chat"
TITLE = "Code Llama answers"

TEMPERATURE, TOP_P = 0.8, 0.95
"""Sampling for regenerated responses. The first response is greedy and would be the same again."""


def register(server: CodeLlamaServer) -> None:
    """Register the custom requests."""
    server.feature(CHAT)(chat)
    server.feature(f"{CHAT}/new")(new)
    server.feature(f"{CHAT}/list")(list_all)
    server.feature(f"{CHAT}/drop")(drop)
    server.feature(f"{CHAT}/export")(export)


async def chat(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """Respond to a message. Raises JsonRpcException."""
    conversation, context = _named(server, params), chat_context_of(server, params)
    text, regenerate = member(params, "text", str, ""), member(params, "regenerate", bool, False)
    partial_token, work_token = token(params, "partialResultToken"), token(params, "workDoneToken")
    backend = require_backend(server)
    if regenerate:
        composed = _regenerated(conversation)
    else:
        try:
            composed = await compose(text, context, server.settings.chat.context_chars, server.warn_once)
        except AttachmentError as error:
            raise request_failed(str(error)) from error
    conversation = conversation or server.chats.begin()
    _claim(conversation)
    try:
        async with request_progress(server, work_token, TITLE):
            return await _respond(server, backend, conversation, composed, partial_token)
    finally:
        conversation.answering = None
        if not conversation.turns and not member(params, "conversation", str, ""):
            server.chats.drop(conversation.id)  # the client does not know its id


def new(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """Begin an empty conversation."""
    del params
    return {"conversation": server.chats.begin().id}


def list_all(server: CodeLlamaServer, params: Any) -> list[dict[str, Any]]:
    """Return the conversations of this session, the most recently used last."""
    del params
    return [
        {
            "conversation": one.id,
            "title": one.title,
            "turns": len(one.turns),
            "tokens": one.turns[-1].tokens if one.turns else 0,
            "busy": one.answering is not None,
        }
        for one in server.chats.known.values()
    ]


def drop(server: CodeLlamaServer, params: Any) -> None:
    """Forget a conversation and stop its response, if one is streaming."""
    server.chats.drop(member(params, "conversation", str, ""))


def export(server: CodeLlamaServer, params: Any) -> dict[str, str]:
    """Return a conversation as Markdown. Raises JsonRpcException."""
    conversation = _named(server, params)
    if conversation is None or not conversation.turns:
        raise request_failed("The conversation is empty: there is nothing to export.")
    model = server.backend.status.chat_model if server.backend else ""
    return {"markdown": to_markdown(conversation, model)}


def _named(server: CodeLlamaServer, params: Any) -> Conversation | None:
    """Return the conversation of a request; None if it names none. Raises JsonRpcException for an unknown id."""
    name = member(params, "conversation", str, "")
    found = server.chats.find(name) if name else None
    if name and found is None:
        raise request_failed("This conversation no longer exists. Begin a new one.")
    return found


def _regenerated(conversation: Conversation | None) -> Composed:
    turn = conversation.again() if conversation else None
    if conversation is None or turn is None:
        raise request_failed("There is no response to regenerate.")
    return Composed(turn, conversation.system, ())


def _claim(conversation: Conversation) -> None:
    """Allow one response at a time: the next message builds on this response."""
    if conversation.answering is not None:
        raise request_failed("The previous message is still being answered. Wait for the response, or stop it.")
    conversation.answering = asyncio.current_task()


async def _respond(
    server: CodeLlamaServer, backend: Backend, conversation: Conversation, composed: Composed, token: Token | None
) -> dict[str, Any]:
    """Stream a response and store it in the conversation, even if it is cancelled."""
    if not conversation.turns:
        conversation.system = composed.system
    turn = composed.turn
    response = ChatResponse()
    try:
        request = _request(server, conversation, turn)
        await stream_chat(backend, request, response, partial(_send_text, server, token, conversation.id))
    finally:
        if response.text or response.outcome:
            end, tokens = finish_reason(response.outcome), _used_tokens(response.outcome)
            turn = replace(turn, answer=response.text, end=end, tokens=tokens)
            conversation.keep(turn)
    limit = None
    with suppress(EngineError):
        limit = await backend.chat_context()
    return _result(conversation, turn, response, composed.left_out, limit)


def _request(server: CodeLlamaServer, conversation: Conversation, turn: ChatTurn) -> ChatRequest:
    sampling = Sampling(max_tokens=server.settings.chat.max_tokens)
    if turn.attempt:
        sampling = replace(sampling, temperature=TEMPERATURE, top_p=TOP_P, seed=turn.attempt)
    return ChatRequest(conversation.messages(turn), sampling=sampling, session=conversation.id)


def _send_text(server: CodeLlamaServer, token: Token | None, conversation: str, text: str) -> None:
    send_partial(server, token, {"conversation": conversation, "text": text})


def _result(
    conversation: Conversation, turn: ChatTurn, response: ChatResponse, left_out: Any, limit: int | None
) -> dict[str, Any]:
    outcome = response.outcome or Outcome("end")
    return {
        "conversation": conversation.id,
        "turn": len(conversation.turns) - 1,
        "text": turn.answer,
        "finishReason": turn.end,
        "tokens": {
            "prompt": outcome.prompt_tokens,
            "reused": outcome.reused_tokens,
            "answer": outcome.completion_tokens,
            "used": turn.tokens,
            "limit": limit,
        },
        "droppedMessages": outcome.dropped_messages,
        "cutTokens": outcome.cut_tokens,
        "attached": [_attached(one) for one in turn.attached],
        "leftOut": [_left_out(one) for one in left_out],
        "codeBlocks": [asdict(block) for block in code_blocks(turn.answer)],
    }


def _attached(attachment: Attachment) -> dict[str, Any]:
    return {"title": attachment.title, "characters": len(attachment.text), "shortened": attachment.shortened}


def _left_out(one: LeftOut) -> dict[str, str]:
    return {"title": one.title, "why": one.why}


def _used_tokens(outcome: Outcome | None) -> int:
    return outcome.prompt_tokens + outcome.completion_tokens if outcome else 0
