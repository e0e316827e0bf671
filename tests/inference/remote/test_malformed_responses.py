"""Malformed responses of a remote server: broken off, without an end, too deeply nested, half characters."""

from __future__ import annotations

import asyncio

import pytest
from starlette.responses import HTMLResponse, JSONResponse, Response
from support.fixtures_remote import connected, sharing, told

from inference.api.engine_errors import EngineUnavailable
from inference.api.requests import ChatRequest, CompletionRequest
from inference.remote.server_errors import UnusableServer
from inference.text.prompts import Message


def stream(*events: str) -> Response:
    return Response("".join(f"data: {event}\n\n" for event in events), media_type="text/event-stream")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", "break"], "there closed the connection in the middle of a request."),
        (["a", "error"], "there failed in the middle of a response."),
    ],
)
async def test_broken_stream_raises_engine_unavailable(small, texts, message):
    async with connected(sharing(small, says=texts)) as client:
        with pytest.raises(EngineUnavailable) as error:
            await told(client, CompletionRequest("x"))
    assert str(error.value) == message


async def test_stream_without_finish_reason_is_incomplete(small):
    """A proxy in between may close the stream without an error."""
    fake = sharing(small)
    async with connected(fake) as client:
        fake.ends = False
        with pytest.raises(EngineUnavailable, match="there broke off in the middle of a response"):
            await told(client, CompletionRequest("x"))


async def test_response_of_unknown_shape_is_an_error(small):
    fake = sharing(small, says=["nonsense"])
    async with connected(fake) as client:
        for failure in ([], [HTMLResponse("<html>")], [JSONResponse({"choices": []})], [stream('{"choices": [7]}')]):
            fake.failures = list(failure)
            with pytest.raises(UnusableServer, match="there does not respond as OpenAI's API does"):
                await told(client, CompletionRequest("x"))


@pytest.mark.parametrize(
    "usage",
    [
        "null",
        '{"prompt_tokens": null, "completion_tokens_details": [], "prompt_tokens_details": 1}',
        '{"prompt_tokens": "7"}',
    ],
)
async def test_malformed_usage_is_ignored(small, usage):
    """Tokens are counted on this side instead."""
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


async def test_lone_surrogate_becomes_a_replacement_character(small):
    fake = sharing(small)
    async with connected(fake) as client:
        fake.failures = [stream(r'{"choices": [{"text": "a\ud83d", "finish_reason": "stop"}]}')]
        assert (await told(client, CompletionRequest("x")))[0] == "a\ufffd"


async def test_event_nested_too_deeply_is_an_error(small):
    fake = sharing(small)
    async with connected(fake) as client:
        fake.failures = [stream("[" * 200_000 + "]" * 200_000)]
        with pytest.raises(UnusableServer, match="there does not respond as OpenAI's API does"):
            await told(client, CompletionRequest("x"))


async def test_stream_beyond_the_size_cap_is_closed(small, monkeypatch):
    """A server that ignores ``max_tokens`` would fill the memory."""
    monkeypatch.setattr("inference.remote.http_client.LONGEST_ANSWER", 500)
    fake = sharing(small, says=["x"] * 100 + ["…"])
    async with connected(fake) as client:
        with pytest.raises(EngineUnavailable, match="there sent a response that does not end"):
            await told(client, CompletionRequest("x"))
        await asyncio.wait_for(fake.left.wait(), 10)
