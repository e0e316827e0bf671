"""The engine client: streams, time limits, leases and token probabilities."""

from __future__ import annotations

from math import log
from typing import Any

import httpx
import pytest
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import serving

from inference.api.engine_errors import EngineSilent
from inference.api.events import Sampling, TextChunk, TokenProbability
from inference.api.requests import ChatRequest, CompletionRequest
from inference.client import engine_client as module
from inference.client.engine_client import SILENT_SECONDS, EngineClient
from inference.server import app
from inference.system.runtime_folder import bind_socket
from inference.text.prompts import Message


@pytest.mark.parametrize("text", ["a\u2028b", "a\x85b", "a\x0cb", "é😋"])
async def test_unicode_line_breaks_survive_the_stream(runtime, text):
    """``str.splitlines`` splits at more characters than server-sent events do."""
    async with serving(runtime, ScriptedModel([text])) as running:
        client = EngineClient(running.socket)
        events = [event async for event in client.complete(CompletionRequest("x"))]
        await client.aclose()
    assert events[0] == TextChunk(text)


@pytest.fixture
def mute(runtime, monkeypatch):
    """A socket that accepts connections and never responds, like that of a stopped process."""
    monkeypatch.setattr(module, "LATE_SECONDS", 0.0)
    monkeypatch.setattr(module, "LONGEST_SECONDS", 0.1)
    with bind_socket(runtime / "engine.sock") as listener:
        listener.listen()
        yield runtime / "engine.sock"


@pytest.mark.parametrize("method", ["complete", "chat", "lease", "health", "stats", "models", "retire", "score"])
async def test_request_to_a_silent_engine_times_out(mute, method):
    client = EngineClient(mute, silence=0.1)
    message = (Message("user", "hello"),)
    requests: dict[str, Any] = {
        "complete": lambda: anext(client.complete(CompletionRequest("x", deadline_ms=100))),
        "chat": lambda: anext(client.chat(ChatRequest(message))),
        "lease": lambda: anext(client.lease()),
        "score": lambda: client.score({"input_data": {"input_string": ["x"]}}),
    }
    try:
        with pytest.raises(EngineSilent, match="engine stop --now"):
            await requests.get(method, getattr(client, method))()
    finally:
        await client.aclose()


async def test_stalled_stream_times_out_at_its_deadline(runtime, monkeypatch):
    monkeypatch.setattr(module, "LATE_SECONDS", 0.0)
    async with serving(runtime, ScriptedModel(["a", "b"], hold=True)) as running:
        client = EngineClient(running.socket)
        stream = client.complete(CompletionRequest("x", deadline_ms=300))
        assert await anext(stream) == TextChunk("a")
        with pytest.raises(EngineSilent):
            await anext(stream)
        await client.aclose()


async def test_lease_gets_comments_without_a_change(runtime, monkeypatch):
    """Comments keep the lease alive; an unchanged status is not repeated."""
    monkeypatch.setattr(app, "HEARTBEAT_SECONDS", 0.02)
    async with serving(runtime, ScriptedModel()) as running:
        transport = httpx.AsyncHTTPTransport(uds=str(running.socket))
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://engine") as http,
            http.stream("GET", "/lease") as answer,
        ):
            lines = answer.aiter_lines()
            found = [await anext(lines) for _ in range(8)]
    assert [line[:5] for line in found] == ["data:", "", ":", "", ":", "", ":", ""]


def test_lease_tolerates_four_missed_comments():
    assert SILENT_SECONDS >= 5 * app.HEARTBEAT_SECONDS


async def chunks(client: EngineClient, sampling: Sampling) -> list[TextChunk]:
    request = CompletionRequest("x", sampling=sampling)
    return [event async for event in client.complete(request) if isinstance(event, TextChunk)]


async def test_logprobs_come_only_on_request(runtime):
    async with serving(runtime, ScriptedModel(["é", "b"])) as running:
        client = EngineClient(running.socket)
        try:
            with_logprobs, plain = await chunks(client, Sampling(logprobs=0)), await chunks(client, Sampling())
        finally:
            await client.aclose()
    assert with_logprobs == [
        TextChunk("é", (TokenProbability("é".encode(), log(0.5)),)),
        TextChunk("b", (TokenProbability(b"b", log(0.5)),)),
    ]
    assert plain == [TextChunk("é"), TextChunk("b")]
