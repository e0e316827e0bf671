"""``codellama/chat`` and related requests: the messages on the wire, and the model's input."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fakes.scripted_model import ScriptedModel
from lsprotocol import types
from support.simulated_user import SimulatedUser, chat_user
from support.waiting import until

from inference.models.catalog import CATALOG
from lsp_server.prompts.templates import messages_for

FIELDS = {"question": "", "context": "", "code": "", "problems": "", "diff": ""}
SYSTEM = messages_for("chat", FIELDS)[0]["content"]
CHAT = "codellama/chat"
FAILED = -32803


async def test_response_streams_and_is_complete_at_the_end(runtime, tmp_path):
    async with chat_user(runtime, tmp_path, ScriptedModel(["Use:\n", "```py\nx\n", "```"])) as one:
        answer = await one.say("How?", partialResultToken="p", workDoneToken=7)
        await until(lambda: len(one.progress_json) == 5)
        text = "Use:\n```py\nx\n```"
        assert answer == {
            "conversation": answer["conversation"],
            "turn": 0,
            "text": text,
            "finishReason": "stop",
            "tokens": {"prompt": 4, "reused": 0, "answer": 3, "used": 7, "limit": 4096},
            "droppedMessages": 0,
            "cutTokens": 0,
            "attached": [],
            "leftOut": [],
            "codeBlocks": [{"language": "py", "code": "x\n", "start": 1, "stop": 3, "closed": True}],
        }
        assert one.progress_json == [
            (7, {"kind": "begin", "title": "Code Llama answers", "cancellable": True}),
            *(("p", {"conversation": answer["conversation"], "text": p}) for p in one.model.pieces),
            (7, {"kind": "end"}),
        ]
        assert one.model_messages() == [("system", SYSTEM), ("user", "How?")]


async def test_nothing_streams_without_a_token(runtime, tmp_path):
    async with chat_user(runtime, tmp_path) as one:
        assert (await one.say("Hi"))["text"] == "ab"
        assert one.progress_json == []


async def test_turns_are_appended_to_the_conversation(runtime, tmp_path):
    """The beginning stays the same, so the engine can reuse its KV cache."""
    async with chat_user(runtime, tmp_path) as one:
        first = await one.say("One?")
        second = await one.say("Two?", conversation=first["conversation"])
        other = await one.say("Three?")
        assert (second["conversation"], second["turn"]) == (first["conversation"], 1)
        assert other["conversation"] != first["conversation"]
        assert one.model_messages(1) == [*one.model_messages(0), ("assistant", "ab"), ("user", "Two?")]
        assert one.model_messages(2) == [("system", SYSTEM), ("user", "Three?")]
        assert (await one.ask_json(f"{CHAT}/list")) == [
            {"conversation": first["conversation"], "title": "One?", "turns": 2, "tokens": 6, "busy": False},
            {"conversation": other["conversation"], "title": "Three?", "turns": 1, "tokens": 8, "busy": False},
        ]


async def test_new_drop_and_unknown_conversation(runtime, tmp_path):
    async with chat_user(runtime, tmp_path) as one:
        begun = (await one.ask_json(f"{CHAT}/new"))["conversation"]
        assert (await one.say("Hi", conversation=begun))["conversation"] == begun
        assert await one.ask_json(f"{CHAT}/drop", conversation=begun) is None
        unknown = (FAILED, "This conversation no longer exists. Begin a new one.")
        assert await one.error_of(CHAT, text="Hi", conversation=begun) == unknown
        assert await one.error_of(f"{CHAT}/export", conversation=begun) == unknown


async def test_regenerated_response_is_sampled_with_a_seed(runtime, tmp_path):
    async with chat_user(runtime, tmp_path) as one:
        first = await one.say("One?")
        one.model.pieces[:] = ["other"]
        again = await one.say("", conversation=first["conversation"], regenerate=True)
        assert (again["text"], again["turn"]) == ("other", 0)
        assert one.model_messages(1) == one.model_messages(0)
        samplings = [asked[2] for asked in one.model.asked]
        assert [(s.temperature, s.top_p, s.seed) for s in samplings] == [(0.0, 1.0, None), (0.8, 0.95, 1)]
        await one.say("Two?", conversation=first["conversation"])
        assert one.model_messages()[1:] == [("user", "One?"), ("assistant", "other"), ("user", "Two?")]


async def test_regenerate_without_a_response_fails(runtime, tmp_path):
    async with chat_user(runtime, tmp_path) as one:
        nothing = (FAILED, "There is no response to regenerate.")
        assert await one.error_of(CHAT, regenerate=True) == nothing
        begun = await one.ask_json(f"{CHAT}/new")
        assert await one.error_of(CHAT, regenerate=True, **begun) == nothing


async def begun(one: SimulatedUser, **more: Any) -> asyncio.Future[Any]:
    """An answer under way, of which "1" was said and no more is until ``go``."""
    request = one.send(CHAT, {"text": "Count", "partialResultToken": "p", **more}, "the-one")
    await until(lambda: any(token == "p" for token, _ in one.progress_json))
    return request


async def ended(request: asyncio.Future[Any]) -> int | None:
    (error,) = await asyncio.wait_for(asyncio.gather(request, return_exceptions=True), 10)
    return getattr(error, "code", None)


async def until_freed(one: SimulatedUser) -> None:
    """Wait until the engine has noticed the cancellation."""
    await until(lambda: one.service.requests.held == 0)


@pytest.mark.parametrize("how", ["cancel", "progress", "drop"])
async def test_cancel_frees_the_model_within_a_step(runtime, tmp_path, how):
    async with chat_user(runtime, tmp_path, ScriptedModel(["1", "2", "3"], hold=True)) as one:
        request = await begun(one, workDoneToken="w")
        conversation = one.progress_json[-1][1]["conversation"]
        if how == "cancel":
            one.session.client.cancel_request(types.CancelParams("the-one"))
        elif how == "progress":
            one.session.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams("w"))
        else:
            assert await one.ask_json(f"{CHAT}/drop", conversation=conversation) is None
        assert await ended(request) == -32800
        await until_freed(one)
        one.model.go.set()
        assert await asyncio.to_thread(one.model.closed.wait, 10)
        assert "Count: 3" not in one.model.log and "closed Count" in one.model.log
        await until(lambda: one.progress_json[-1] == ("w", {"kind": "end"}))


async def test_cancelled_response_is_kept(runtime, tmp_path):
    """The user may ask the model to continue."""
    async with chat_user(runtime, tmp_path, ScriptedModel(["1", "2", "3"], hold=True)) as one:
        request = await begun(one)
        conversation = one.progress_json[-1][1]["conversation"]
        one.session.client.cancel_request(types.CancelParams("the-one"))
        assert await ended(request) == -32800
        await until_freed(one)
        one.model.go.set()
        answer = await one.say("Go on", conversation=conversation)
        assert (answer["turn"], answer["text"]) == (1, "123")
        assert one.model_messages()[1:] == [("user", "Count"), ("assistant", "1"), ("user", "Go on")]
        exported = await one.ask_json(f"{CHAT}/export", conversation=conversation)
        assert "## starter\n\n1\n\n*Stopped.*\n\n## You\n\nGo on" in exported["markdown"]


async def test_one_response_at_a_time_per_conversation(runtime, tmp_path):
    """The next message builds on this response. Other conversations need not wait."""
    async with chat_user(runtime, tmp_path, ScriptedModel(["1", "2"], hold=True)) as one:
        request = await begun(one)
        conversation = one.progress_json[-1][1]["conversation"]
        busy = (FAILED, "The previous message is still being answered. Wait for the response, or stop it.")
        assert await one.error_of(CHAT, text="More", conversation=conversation) == busy
        assert [c["busy"] for c in await one.ask_json(f"{CHAT}/list")] == [True]
        one.model.go.set()
        assert (await asyncio.wait_for(request, 10)).text == "12"


async def test_completion_model_error_names_a_chat_model(runtime, tmp_path):
    base = ScriptedModel(row=CATALOG["codellama-7b"])
    async with chat_user(runtime, tmp_path, base, settings={"engine": {"model": "codellama-7b"}}) as one:
        text = "codellama-7b was not trained to chat. Choose codellama-7b-instruct for chat."
        assert await one.error_of(CHAT, text="Hi", workDoneToken=1) == (FAILED, text)
        assert await one.ask_json(f"{CHAT}/list") == []
        await until(lambda: one.progress_json[-1:] == [(1, {"kind": "end"})])


async def test_loading_model_is_reported(runtime, tmp_path):
    async with chat_user(runtime, tmp_path) as one:
        one.service.board.post(phase="loading", message="loading weights")
        await until(lambda: one.session.statuses[-1].phase == "loading")
        text = "The model is not ready yet: loading weights."
        assert await one.error_of(CHAT, text="Hi") == (FAILED, text)


async def test_failure_in_the_middle_of_a_response(runtime, tmp_path):
    """The partial text stays, and the next message is answered."""
    async with chat_user(runtime, tmp_path, ScriptedModel(["1", "boom"])) as one:
        conversation = (await one.ask_json(f"{CHAT}/new"))["conversation"]
        text = "The engine failed at this request (RuntimeError); its log has the details."
        assert await one.error_of(CHAT, text="Hi", conversation=conversation) == (FAILED, text)
        one.model.pieces[:] = ["2"]
        assert (await one.say("Again", conversation=conversation))["text"] == "2"
        assert one.model_messages()[1:] == [("user", "Hi"), ("assistant", "1"), ("user", "Again")]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"text": 3}, "'text' must be a string."),
        ({"text": "Hi", "regenerate": "yes"}, "'regenerate' must be true or false."),
        ({"text": "Hi", "conversation": ["x"]}, "'conversation' must be a string."),
        ({"text": "Hi", "workDoneToken": {}}, "'workDoneToken' must be a string or a number."),
    ],
)
async def test_invalid_parameters_have_a_message(runtime, tmp_path, params, message):
    async with chat_user(runtime, tmp_path) as one:
        assert await one.error_of(CHAT, **params) == (-32602, message)


async def test_empty_message_is_rejected(runtime, tmp_path):
    async with chat_user(runtime, tmp_path) as one:
        assert await one.error_of(CHAT, text=" \n") == (FAILED, "The message is empty.")
        assert await one.error_of(CHAT) == (FAILED, "The message is empty.")
        assert await one.error_of(CHAT, text="/fix") == (FAILED, "/fix: open a document, or mention one.")
        assert one.model.asked == []


async def test_shutdown_ends_a_running_response(runtime, tmp_path):
    async with chat_user(runtime, tmp_path, ScriptedModel(["1", "2", "3"], hold=True)) as one:
        request = await begun(one)
    assert await ended(request) == -32800
    assert await asyncio.to_thread(one.model.closed.wait, 10)
