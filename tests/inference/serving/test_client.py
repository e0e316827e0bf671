"""The client's side of the wire."""

from __future__ import annotations

import pytest
from fakes.answerer import ScriptedAnswerer
from fixtures_engine import serving

from inference.generation.answer import TextChunk
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
