"""``codellama/answer``: the chat model for clients that keep the conversations themselves."""

from __future__ import annotations

import asyncio

from fakes.scripted_model import ScriptedModel
from lsprotocol import types
from support.simulated_user import chat_user
from support.waiting import until

METHOD = "codellama/answer"
INVALID, CANCELLED = -32602, -32800


def said(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


async def test_messages_are_sent_unchanged(runtime, tmp_path):
    """No system prompt, file or earlier conversation is added."""
    async with chat_user(runtime, tmp_path, ScriptedModel(["One ", "two."])) as one:
        turns = (("system", "Be brief."), ("user", "#file:a.py?"), ("assistant", "What?"), ("user", "Count."))
        answer = await one.ask_json(METHOD, messages=said(*turns), partialResultToken="t")
        assert answer == {"text": "One two.", "finishReason": "stop"}
        await until(lambda: len(one.progress_json) == 2)
        assert one.progress_json == [("t", {"text": "One "}), ("t", {"text": "two."})]
        assert one.model_messages() == list(turns)


async def test_cancel_frees_the_model(runtime, tmp_path):
    async with chat_user(runtime, tmp_path, ScriptedModel(["a", "b"], hold=True)) as one:
        request = one.send(METHOD, {"messages": said(("user", "Count."))}, "count")
        assert await asyncio.to_thread(one.model.began.wait, 10)
        one.session.client.cancel_request(types.CancelParams("count"))
        (error,) = await asyncio.gather(request, return_exceptions=True)
        assert getattr(error, "code", None) == CANCELLED
        one.model.go.set()
        await until(lambda: "closed Count." in one.model.log)


async def test_invalid_messages_are_refused(runtime, tmp_path):
    async with chat_user(runtime, tmp_path) as one:
        last = "The last of 'messages' must have the role 'user'."
        assert await one.error_of(METHOD) == (INVALID, last)
        assert await one.error_of(METHOD, messages=said(("assistant", "Hi."))) == (INVALID, last)
        role = "The 'role' of a message must be one of system, user, assistant."
        assert await one.error_of(METHOD, messages=said(("tool", "x"))) == (INVALID, role)


async def test_model_returns_its_limits(runtime, tmp_path):
    async with chat_user(runtime, tmp_path, settings={"chat": {"maxTokens": 64}}) as one:
        assert await one.ask_json(f"{METHOD}/model") == {"model": "starter", "context": 4096, "maxTokens": 64}
