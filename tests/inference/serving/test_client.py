"""The client's side of the wire."""

from __future__ import annotations

from math import log

import pytest
from fakes.answerer import ScriptedAnswerer
from fixtures_engine import serving

from inference.generation.answer import Sampling, TextChunk, TokenChance
from inference.serving.client import EngineClient
from inference.serving.wire import CompletionRequest


@pytest.mark.parametrize("text", ["a\u2028b", "a\x85b", "a\x0cb", "é😋"])
async def test_any_character_comes_through(runtime, text):
    """Python's own idea of where lines end is not that of server-sent events."""
    async with serving(runtime, ScriptedAnswerer([text])) as running:
        client = EngineClient(running.socket)
        events = [event async for event in client.complete(CompletionRequest("x"))]
        await client.aclose()
    assert events[0] == TextChunk(text)


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
        TextChunk("é", (TokenChance("é".encode(), log(0.5)),)),
        TextChunk("b", (TokenChance(b"b", log(0.5)),)),
    ]
    assert plain == [TextChunk("é"), TextChunk("b")]
