"""The client's side of the wire."""

from __future__ import annotations

from math import log
from typing import Any

import httpx
import pytest
from fakes.answerer import ScriptedAnswerer
from support.fixtures_engine import serving

from inference.api.errors import EngineSilent
from inference.api.events import Sampling, TextChunk, TokenProbability
from inference.api.requests import ChatRequest, CompletionRequest
from inference.client import engine_client as client_module
from inference.client.engine_client import SILENT_SECONDS, EngineClient
from inference.server import app
from inference.system.runtime_folder import bind
from inference.text.prompts import Message


@pytest.mark.parametrize("text", ["a\u2028b", "a\x85b", "a\x0cb", "é😋"])
async def test_any_character_comes_through(runtime, text):
    """Python's own idea of where lines end is not that of server-sent events."""
    async with serving(runtime, ScriptedAnswerer([text])) as running:
        client = EngineClient(running.socket)
        events = [event async for event in client.complete(CompletionRequest("x"))]
        await client.aclose()
    assert events[0] == TextChunk(text)


@pytest.fixture
def mute(runtime, monkeypatch):
    """A socket on which somebody listens and never answers, as an engine that was stopped does."""
    monkeypatch.setattr(client_module, "LATE_SECONDS", 0.0)
    monkeypatch.setattr(client_module, "LONGEST_SECONDS", 0.1)
    with bind(runtime / "engine.sock") as listener:
        listener.listen()
        yield runtime / "engine.sock"


@pytest.mark.parametrize("asked", ["complete", "chat", "lease", "health", "stats", "models", "retire", "score"])
async def test_silent_engine_is_given_up(mute, asked):
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
            await requests.get(asked, getattr(client, asked))()
    finally:
        await client.aclose()


async def test_answer_that_stops_coming_is_given_up_at_its_deadline(runtime, monkeypatch):
    monkeypatch.setattr(client_module, "LATE_SECONDS", 0.0)
    async with serving(runtime, ScriptedAnswerer(["a", "b"], hold=True)) as running:
        client = EngineClient(running.socket)
        stream = client.complete(CompletionRequest("x", deadline_ms=300))
        assert await anext(stream) == TextChunk("a")
        with pytest.raises(EngineSilent):
            await anext(stream)
        await client.aclose()


async def test_engine_without_news_keeps_a_lease_alive(runtime, monkeypatch):
    """A comment every now and then; no status is repeated, as editors would be told of each."""
    monkeypatch.setattr(app, "BEAT_SECONDS", 0.02)
    async with serving(runtime, ScriptedAnswerer()) as running:
        transport = httpx.AsyncHTTPTransport(uds=str(running.socket))
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://engine") as http,
            http.stream("GET", "/lease") as answer,
        ):
            lines = answer.aiter_lines()
            found = [await anext(lines) for _ in range(8)]
    assert [line[:5] for line in found] == ["data:", "", ":", "", ":", "", ":", ""]


def test_a_lease_may_miss_some_signs_of_life():
    assert SILENT_SECONDS >= 5 * app.BEAT_SECONDS


async def chunks(client: EngineClient, sampling: Sampling) -> list[TextChunk]:
    request = CompletionRequest("x", sampling=sampling)
    return [event async for event in client.complete(request) if isinstance(event, TextChunk)]


async def test_tokens_come_with_their_chances_where_they_were_asked_for(runtime):
    """Whoever wants to know how sure the model was needs them beside the text they became."""
    async with serving(runtime, ScriptedAnswerer(["é", "b"])) as running:
        client = EngineClient(running.socket)
        try:
            told, plain = await chunks(client, Sampling(logprobs=0)), await chunks(client, Sampling())
        finally:
            await client.aclose()
    assert told == [
        TextChunk("é", (TokenProbability("é".encode(), log(0.5)),)),
        TextChunk("b", (TokenProbability(b"b", log(0.5)),)),
    ]
    assert plain == [TextChunk("é"), TextChunk("b")]
