"""Answers of a server elsewhere that are none: broken off, without an end, nested, endless, half characters."""

from __future__ import annotations

import asyncio

import pytest
from starlette.responses import HTMLResponse, JSONResponse, Response
from support.fixtures_remote import connected, sharing, told

from inference.api.errors import EngineUnavailable
from inference.api.requests import ChatRequest, CompletionRequest
from inference.remote.errors import NotUnderstood
from inference.text.prompts import Message


def stream(*events: str) -> Response:
    return Response("".join(f"data: {event}\n\n" for event in events), media_type="text/event-stream")


@pytest.mark.parametrize(
    ("says", "message"),
    [
        (["a", "break"], "there has gone in the middle of a request."),
        (["a", "error"], "there failed in the middle of an answer."),
    ],
)
async def test_an_answer_that_breaks_off_is_no_answer(small, says, message):
    async with connected(sharing(small, says=says)) as client:
        with pytest.raises(EngineUnavailable) as error:
            await told(client, CompletionRequest("x"))
    assert str(error.value) == message


async def test_an_answer_without_an_end_broke_off(small):
    """A proxy between may close the stream in order."""
    fake = sharing(small)
    async with connected(fake) as client:
        fake.ends = False
        with pytest.raises(EngineUnavailable, match="there broke off in the middle of an answer"):
            await told(client, CompletionRequest("x"))


async def test_what_is_no_answer_is_recognised(small):
    fake = sharing(small, says=["nonsense"])
    async with connected(fake) as client:
        for failure in ([], [HTMLResponse("<html>")], [JSONResponse({"choices": []})], [stream('{"choices": [7]}')]):
            fake.failures = list(failure)
            with pytest.raises(NotUnderstood, match="there answers in a way that is not OpenAI's API"):
                await told(client, CompletionRequest("x"))


@pytest.mark.parametrize(
    "usage",
    [
        "null",
        '{"prompt_tokens": null, "completion_tokens_details": [], "prompt_tokens_details": 1}',
        '{"prompt_tokens": "7"}',
    ],
)
async def test_a_usage_that_says_nothing_is_no_failure(small, usage):
    """Tokens are counted here then."""
    fake = sharing(small)
    timings = '{"cause": "why", "prefill_ms": null}'
    end = f'{{"choices": [{{"text": "a", "finish_reason": "stop"}}], "usage": {usage}, "timings": {timings}}}'
    async with connected(fake) as client:
        for request in (CompletionRequest("x"), ChatRequest((Message("user", "Hi"),))):
            fake.failures = [stream(end, "[DONE]")]
            text, outcome = await told(client, request)
            assert (text, outcome.cause, outcome.reused_tokens) == ("a", "end", 0)
            assert outcome.prompt_tokens == (
                len(small.encode("x")) + 1 if isinstance(request, CompletionRequest) else 0
            )


async def test_half_a_character_becomes_one_that_can_be_written_on(small):
    fake = sharing(small)
    async with connected(fake) as client:
        fake.failures = [stream(r'{"choices": [{"text": "a\ud83d", "finish_reason": "stop"}]}')]
        assert (await told(client, CompletionRequest("x")))[0] == "a\ufffd"


async def test_an_event_nested_too_deeply_to_be_read_is_no_answer(small):
    fake = sharing(small)
    async with connected(fake) as client:
        fake.failures = [stream("[" * 200_000 + "]" * 200_000)]
        with pytest.raises(NotUnderstood, match="there answers in a way that is not OpenAI's API"):
            await told(client, CompletionRequest("x"))


async def test_an_answer_without_bounds_is_left(small, monkeypatch):
    """One that is not kept to ``max_tokens`` would fill the memory."""
    monkeypatch.setattr("inference.remote.http_client.LONGEST_ANSWER", 500)
    fake = sharing(small, says=["x"] * 100 + ["…"])
    async with connected(fake) as client:
        with pytest.raises(EngineUnavailable, match="there does not come to an end with an answer"):
            await told(client, CompletionRequest("x"))
        await asyncio.wait_for(fake.left.wait(), 10)
