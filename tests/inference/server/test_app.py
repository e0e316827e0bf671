"""The HTTP API over its real socket: exact responses, streams, refusals and cancellation."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import serving
from support.waiting import until

from inference.api.engine_errors import EngineError, EngineUnavailable
from inference.api.events import Finished, Outcome, TextChunk
from inference.api.requests import ChatRequest, CompletionRequest
from inference.client.engine_client import EngineClient
from inference.text.prompts import Message


def http(running) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(running.socket)), base_url="http://engine")


async def collect(stream) -> list:
    return [event async for event in stream]


async def test_completion_has_openais_format(runtime):
    async with serving(runtime, ScriptedModel(["Hello", " world"])) as running, http(running) as client:
        response = (await client.post("/v1/completions", json={"prompt": "abc"})).json()
    assert response["object"] == "text_completion"
    assert response["choices"] == [{"index": 0, "text": "Hello world", "finish_reason": "stop", "logprobs": None}]
    assert response["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    }


async def test_stream_is_server_sent_events_ended_by_done(runtime):
    async with serving(runtime, ScriptedModel(["é", "b"])) as running, http(running) as client:
        response = await client.post("/v1/completions", json={"prompt": "abc", "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in response.text.split("\n\n") if line]
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert [e["choices"][0]["text"] for e in events] == ["é", "b", ""]
    assert [e["choices"][0]["finish_reason"] for e in events] == [None, None, "stop"]
    assert lines[-1] == "data: [DONE]"


async def test_chat_has_openais_format(runtime):
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    async with serving(runtime, ScriptedModel(["Hello"])) as running, http(running) as client:
        response = (await client.post("/v1/chat/completions", json=body)).json()
    assert response["object"] == "chat.completion"
    assert response["choices"][0]["message"] == {"role": "assistant", "content": "Hello"}


async def test_client_receives_text_and_outcome(runtime):
    async with serving(runtime, ScriptedModel(["a", "b"])) as running:
        client = EngineClient(running.socket)
        events = await collect(client.complete(CompletionRequest(prompt="xyz")))
        chat = await collect(client.chat(ChatRequest((Message("user", "Hi"),))))
        await client.aclose()
    assert events[:2] == [TextChunk("a"), TextChunk("b")]
    assert isinstance(events[2], Finished)
    outcome = events[2].outcome
    assert (outcome.cause, outcome.prompt_tokens, outcome.completion_tokens) == ("end", 3, 2)
    assert [e.text for e in chat[:-1]] == ["a", "b"]


async def test_closing_the_stream_cancels_the_generation(runtime):
    model = ScriptedModel(["1", "2", "3"], hold=True)
    async with serving(runtime, model) as running:
        client = EngineClient(running.socket)
        async for event in client.complete(CompletionRequest(prompt="p")):
            assert event == TextChunk("1")
            break
        await client.aclose()
        await until(lambda: not running.service.requests.held)  # the server has detected the disconnect
        model.go.set()
        assert await asyncio.to_thread(model.closed.wait, 10)
    assert "p: 3" not in model.log


async def test_disconnect_without_streaming_cancels_the_generation(runtime):
    model = ScriptedModel(["1", "2", "3"], hold=True)
    async with serving(runtime, model) as running:
        async with http(running) as client:
            pending = asyncio.ensure_future(client.post("/v1/completions", json={"prompt": "p"}))
            assert await asyncio.to_thread(model.began.wait, 10)
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        await until(lambda: not running.service.requests.held)
        model.go.set()
        assert await asyncio.to_thread(model.closed.wait, 10)
    assert "p: 3" not in model.log


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"{", 400, "The request's body is not JSON"),
        (b"\xff\xfe", 400, "The request's body is not JSON"),
        (b'{"prompt": 1}', 400, "'prompt' must be a string or a list of token ids."),
        (b'{"prompt": "a", "model": "other"}', 404, "The engine runs 'starter', not 'other'"),
        (b'{"prompt": "refuse"}', 400, "This cannot be put to the model."),
        (b'{"prompt": "' + b"a" * 9_000_000 + b'"}', 413, "The request's body is larger than 8 MiB."),
        (b"[" * 100_000, 400, "The request's body is not JSON"),
    ],
)
async def test_bad_request_is_refused_in_openais_format(runtime, content, status, message):
    async with serving(runtime, ScriptedModel()) as running, http(running) as client:
        response = await client.post("/v1/completions", content=content)
        valid = await client.post("/v1/completions", json={"prompt": "still there"})
    assert response.status_code == status
    assert response.json()["error"]["message"].startswith(message)
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert valid.status_code == 200


async def test_failure_while_streaming_ends_the_stream_with_the_error(runtime):
    async with serving(runtime, ScriptedModel(["a", "boom"])) as running:
        client = EngineClient(running.socket)
        with pytest.raises(EngineError, match="The engine failed at this request"):
            await collect(client.complete(CompletionRequest(prompt="p")))
        await client.aclose()


async def test_requests_get_503_and_the_progress_while_loading(runtime):
    async with serving(runtime, ScriptedModel(), phase="loading") as running, http(running) as client:
        health = await client.get("/health")
        response = await client.post("/v1/completions", json={"prompt": "a"})
        engine = EngineClient(running.socket)
        with pytest.raises(EngineUnavailable, match="loading weights"):
            await collect(engine.complete(CompletionRequest(prompt="p")))
        await engine.aclose()
    assert (health.status_code, health.json()["progress"]) == (503, 40)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


async def test_model_list_has_abilities(runtime):
    async with serving(runtime, ScriptedModel()) as running:
        client = EngineClient(running.socket)
        (model,) = await client.models()
        await client.aclose()
    assert (model["id"], model["infill"], model["chat"]) == ("starter", True, "chatml")


async def test_lease_streams_every_status_and_is_counted(runtime):
    async with serving(runtime, ScriptedModel(), phase="loading") as running:
        client = EngineClient(running.socket)
        lease = client.lease()
        assert (await anext(lease)).phase == "loading"
        assert running.service.leases.held == 1
        running.service.board.post(phase="ready")
        assert (await anext(lease)).phase == "ready"
        await lease.aclose()
        await until(lambda: running.service.leases.held == 0)
        await client.aclose()


async def test_lease_ends_when_the_status_board_closes(runtime):
    """Otherwise an engine that shuts down would have to abort these connections."""
    async with serving(runtime, ScriptedModel()) as running:
        client = EngineClient(running.socket)
        lease = client.lease()
        assert (await anext(lease)).phase == "ready"
        running.service.board.close()
        assert [status async for status in lease] == []
        await client.aclose()


async def test_missing_engine_raises_engine_unavailable(runtime):
    client = EngineClient(runtime / "engine.sock")
    with pytest.raises(EngineUnavailable, match="The engine is not running"):
        await client.health()
    await client.aclose()


def test_deadline_is_length_for_openai_and_kept_in_the_outcome():
    from inference.api.events import finish_reason, parse_outcome, timings, usage

    outcome = Outcome("deadline", 10, 4, 3, 2, 1)
    assert finish_reason(outcome) == "length"
    assert parse_outcome("length", usage([outcome]), timings(outcome)) == outcome
