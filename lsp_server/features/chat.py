"""``codellama/chat`` and its like: conversations about code, for editors that have a place for them (our own requests).

A request for an answer has ``text`` and may have ``conversation`` (an id; without one a new conversation begins),
``regenerate``, ``textDocument``, ``range``, ``diagnostics``, ``partialResultToken`` and ``workDoneToken``. The answer
streams as ``$/progress`` with ``{conversation, text}``; the response has all of it. ``$/cancelRequest`` stops it, and
what was said until then stays in the conversation.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from lsprotocol import types

from inference.api.errors import EngineError
from inference.api.events import Outcome, Sampling
from inference.api.requests import ChatRequest
from lsp_server.backend.backend import Backend
from lsp_server.chat.attachments import Attachment, LeftOut
from lsp_server.chat.chat_context import RefusedMention
from lsp_server.chat.conversation import ChatTurn, Composed, Conversation, compose
from lsp_server.chat.markdown import code_blocks, to_markdown
from lsp_server.features.lifecycle import say_once
from lsp_server.lsp.chat_stream import ChatAnswer, answer, engine_of, finish_reason
from lsp_server.lsp.documents import chat_context_of
from lsp_server.lsp.params import failed, member, token
from lsp_server.lsp.progress import under
from lsp_server.session import CodeLlamaServer

CHAT = "codellama/chat"
TITLE = "Code Llama answers"

TEMPERATURE, TOP_P = 0.8, 0.95
"""Of an answer that is asked for anew: the first is the likeliest one, and would be the same again."""


def register(server: CodeLlamaServer) -> None:
    """Requests of our own."""
    server.feature(CHAT)(chat)
    server.feature(f"{CHAT}/new")(new)
    server.feature(f"{CHAT}/list")(list_all)
    server.feature(f"{CHAT}/drop")(drop)
    server.feature(f"{CHAT}/export")(export)


async def chat(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """Answer a message. Raises JsonRpcException."""
    conversation, desk = _named(server, params), chat_context_of(server, params)
    text, again = member(params, "text", str, ""), member(params, "regenerate", bool, False)
    partial_token, work_token = token(params, "partialResultToken"), token(params, "workDoneToken")
    link = engine_of(server)
    if again:
        composed = _again(conversation)
    else:
        warn = partial(say_once, server, types.MessageType.Warning)
        try:
            composed = await compose(text, desk, server.settings.chat.context_chars, warn)
        except RefusedMention as refusal:
            raise failed(str(refusal)) from refusal
    conversation = conversation or server.chats.begin()
    _claim(conversation)
    try:
        async with under(server, work_token, TITLE):
            return await _answered(server, link, conversation, composed, partial_token)
    finally:
        conversation.answering = None
        if not conversation.turns and not member(params, "conversation", str, ""):
            server.chats.drop(conversation.id)  # nobody was told of it


def new(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """Begin a conversation without saying anything yet."""
    del params
    return {"conversation": server.chats.begin().id}


def list_all(server: CodeLlamaServer, params: Any) -> list[dict[str, Any]]:
    """The conversations of this window, the one used last at the end."""
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
    """Forget a conversation; an answer under way is stopped."""
    server.chats.drop(member(params, "conversation", str, ""))


def export(server: CodeLlamaServer, params: Any) -> dict[str, str]:
    """A conversation as Markdown. Raises JsonRpcException."""
    conversation = _named(server, params)
    if conversation is None or not conversation.turns:
        raise failed("There is nothing to export: nothing has been said yet.")
    model = server.link.status.chat_model if server.link else ""
    return {"markdown": to_markdown(conversation, model)}


def _named(server: CodeLlamaServer, params: Any) -> Conversation | None:
    """The conversation that ``params`` name; None where they name none. Raises JsonRpcException for an unknown one."""
    name = member(params, "conversation", str, "")
    found = server.chats.find(name) if name else None
    if name and found is None:
        raise failed("This conversation is not known any more: begin a new one.")
    return found


def _again(conversation: Conversation | None) -> Composed:
    turn = conversation.again() if conversation else None
    if conversation is None or turn is None:
        raise failed("There is no answer yet that could be written anew.")
    return Composed(turn, conversation.system, ())


def _claim(conversation: Conversation) -> None:
    """One answer at a time: the next question follows what this one is answered."""
    if conversation.answering is not None:
        raise failed("This conversation is being answered: wait for the answer, or stop it.")
    conversation.answering = asyncio.current_task()


async def _answered(
    server: CodeLlamaServer, link: Backend, conversation: Conversation, composed: Composed, to: str | int | None
) -> dict[str, Any]:
    """Ask, and keep what is said, even if it is broken off."""
    if not conversation.turns:
        conversation.system = composed.system
    turn = composed.turn
    said = ChatAnswer()
    try:
        request = _request(server, conversation, turn)
        await answer(link, request, said, partial(_tell, server, to, conversation.id))
    finally:
        if said.text or said.outcome:
            turn = replace(turn, answer=said.text, end=finish_reason(said.outcome), tokens=_used(said.outcome))
            conversation.keep(turn)
    limit = None
    with suppress(EngineError):
        limit = await link.chat_context()
    return _result(conversation, turn, said, composed.left_out, limit)


def _request(server: CodeLlamaServer, conversation: Conversation, turn: ChatTurn) -> ChatRequest:
    sampling = Sampling(max_tokens=server.settings.chat.max_tokens)
    if turn.attempt:
        sampling = replace(sampling, temperature=TEMPERATURE, top_p=TOP_P, seed=turn.attempt)
    return ChatRequest(conversation.messages(turn), sampling=sampling, session=conversation.id)


def _tell(server: CodeLlamaServer, to: str | int | None, conversation: str, text: str) -> None:
    if to is not None:
        server.progress(types.ProgressParams(to, {"conversation": conversation, "text": text}))


def _result(
    conversation: Conversation, turn: ChatTurn, said: ChatAnswer, left_out: Any, limit: int | None
) -> dict[str, Any]:
    outcome = said.outcome or Outcome("end")
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
        "attached": [_attached(piece) for piece in turn.attached],
        "leftOut": [_left_out(one) for one in left_out],
        "codeBlocks": [asdict(block) for block in code_blocks(turn.answer)],
    }


def _attached(piece: Attachment) -> dict[str, Any]:
    return {"title": piece.title, "characters": len(piece.text), "shortened": piece.shortened}


def _left_out(one: LeftOut) -> dict[str, str]:
    return {"title": one.title, "why": one.why}


def _used(outcome: Outcome | None) -> int:
    return outcome.prompt_tokens + outcome.completion_tokens if outcome else 0
