"""The exact requests sent to each kind of server, and the parsed responses."""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from fakes.llama_server import FakeLlamaServer, listening
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import serving

from inference.api.events import Sampling
from inference.models.catalog import find
from lsp_server.benchmark.sides.http_sides import find_side
from lsp_server.benchmark.sides.own_engine import side_on
from lsp_server.benchmark.sides.side import BenchError, NoChatError, Stopwatch, TimedRequest, busy_with_chat
from lsp_server.benchmark.sides.transformers_side import start_transformers


@asynccontextmanager
async def found(fake: FakeLlamaServer):
    async with listening(fake.app()) as url:
        side = await find_side(url)
        try:
            yield side, url
        finally:
            await side.aclose()


async def test_llama_server_gets_its_native_request_with_prompt_cache():
    fake = FakeLlamaServer()
    async with found(fake) as (side, url):
        answer = await side.answer(TimedRequest([5, 6, 7], 4, "a.py"))
    assert side.name == f"llama-server at {url}"
    assert (answer.prompt, answer.prefilled, answer.written, len(answer.arrivals)) == (3, 2, 4, 4)
    assert fake.bodies == [
        (
            "/completion",
            {
                "prompt": [5, 6, 7],
                "n_predict": 4,
                "ignore_eos": True,
                "cache_prompt": True,
                "id_slot": -1,
                "temperature": 0,
                "samplers": ["temperature"],
                "return_tokens": True,
                "stream": True,
            },
        )
    ]


async def test_other_servers_get_openai_requests():
    fake = FakeLlamaServer(native=False)
    async with found(fake) as (side, url):
        answer = await side.answer(TimedRequest([5, 6, 7], 4, "a.py"))
    assert side.name == f"other-model at {url}"
    assert (answer.prompt, answer.prefilled, answer.written) == (3, None, 4)
    assert fake.bodies == [
        (
            "/v1/completions",
            {
                "model": "other-model",
                "prompt": [5, 6, 7],
                "max_tokens": 4,
                "min_tokens": 4,
                "ignore_eos": True,
                "temperature": 0,
                "stream": True,
                "stream_options": {"include_usage": True, "continuous_usage_stats": True},
            },
        )
    ]


async def test_our_engine_gets_a_session_per_document(runtime):
    """Only known fields; cached tokens are not prefilled."""
    answerer = ScriptedModel(pieces=["a", "b"])
    async with serving(runtime, answerer) as running:
        side = side_on(running.socket, "starter", os.getpid())
        answer = await side.answer(TimedRequest([5, 6, 7], 2, "a.py"))
        await side.aclose()
    assert (answer.prompt, answer.prefilled, answer.written) == (len("[5, 6, 7]"), len("[5, 6, 7]"), 2)
    assert answerer.log[0] == "begin [5, 6, 7]"


async def test_only_our_engine_gets_a_forced_completion(runtime):
    answerer = ScriptedModel(pieces=["a", "b"])
    async with serving(runtime, answerer) as running:
        side = side_on(running.socket, "starter")
        await side.answer(TimedRequest([5], 2, drafts=False, forced=(6, 7), prediction="x = 1"))
        await side.answer(TimedRequest([5], 2))
        await side.aclose()
    plain = Sampling(max_tokens=2, min_tokens=2)
    assert [sampling for _, _, sampling in answerer.asked] == [
        replace(plain, drafts=False, forced=(6, 7), prediction="x = 1"),
        plain,
    ]


@pytest.mark.parametrize(
    ("fake", "counts"),
    [
        (FakeLlamaServer(), (1, 2, 3, 4, 5)),
        (FakeLlamaServer(at_once=2), (2, 4, 5)),
        (FakeLlamaServer(native=False, counts=True, at_once=3), (3, 5)),
        (FakeLlamaServer(native=False), (1, 2, 3, 4, 5)),
    ],
)
async def test_tokens_per_part_are_counted(fake, counts):
    """Drafts and multi-token characters put several tokens in one part."""
    async with found(fake) as (side, _):
        answer = await side.answer(TimedRequest([5], 5))
    assert answer.counts == counts
    assert len(answer.arrivals) == len(counts)


def test_parts_without_counts_share_the_tokens_equally():
    for parts, counts in ((2, (3, 5)), (3, (2, 4, 5)), (6, (1, 2, 3, 4, 5, 5))):
        watch = Stopwatch()
        for _ in range(parts):
            watch.part()
        assert watch.answer("it", TimedRequest([5], 5), 5).counts == counts


async def test_tokens_without_text_arrive_at_the_end(runtime):
    """Control tokens, for example."""
    async with serving(runtime, ScriptedModel(pieces=["", ""])) as running:
        side = side_on(running.socket, "starter")
        answer = await side.answer(TimedRequest([5], 2))
        await side.aclose()
    assert (answer.written, len(answer.arrivals)) == (2, 1)


async def test_listening_process_is_found():
    """Its memory is measured; here it is this process."""
    async with found(FakeLlamaServer()) as (side, _):
        assert side.pid == os.getpid()


async def test_chat_runs_in_the_background():
    fake = FakeLlamaServer()
    async with found(fake) as (side, _), busy_with_chat(side) as steps:
        await side.answer(TimedRequest([5], 1))
        assert len(steps) == 2
    paths = [path for path, _ in fake.bodies]
    assert paths[0] == "/v1/chat/completions"
    assert "/completion" in paths


async def test_model_without_chat_is_reported_before_the_measurement(runtime):
    """The server's refusal is the reported reason."""
    async with serving(runtime, ScriptedModel(row=find("codellama-7b"))) as running:
        side = side_on(running.socket, "codellama-7b")
        with pytest.raises(NoChatError, match=r"^codellama-ls refused /v1/chat/completions \(.* not trained to chat"):
            async with busy_with_chat(side):
                pytest.fail("there is no chat")
        await side.aclose()


async def test_server_that_stops_early_is_an_error():
    async with found(FakeLlamaServer(says=3)) as (side, url):
        with pytest.raises(BenchError) as error:
            await side.answer(TimedRequest([5], 8))
    assert str(error.value) == (
        f"llama-server at {url} generated 3 tokens instead of 8, so it can't be compared. "
        "Use a server that obeys 'ignore_eos' or 'min_tokens'."
    )


async def test_server_without_token_ids_is_named_with_its_error():
    async with found(FakeLlamaServer(native=False, ids=False)) as (side, url):
        with pytest.raises(BenchError) as error:
            await side.answer(TimedRequest([5], 8))
    assert str(error.value) == (
        f"other-model at {url} refused /v1/completions (prompt must be a string): "
        "the benchmark needs a server that takes token ids as a prompt."
    )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9", "No server answers at http://127.0.0.1:9. Start it, or check the address."),
        ("localhost:9", "'localhost:9' is not the address of a server. It should look like http://127.0.0.1:8080."),
    ],
)
async def test_unreachable_address_is_an_error(url, message):
    with pytest.raises(BenchError) as error:
        await find_side(url)
    assert str(error.value) == message


TALKER = """
import json, sys
print(json.dumps({"ready": True, "format": "nf4", "arguments": sys.argv[1:]}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    for token in request["prompt"][: request["tokens"]]:
        print(json.dumps({"token": token}), flush=True)
    print(json.dumps({"done": request["tokens"]}), flush=True)
"""


async def test_transformers_uses_json_lines():
    side = await start_transformers("starter", "nf4", [sys.executable, "-c", TALKER])
    answer = await side.answer(TimedRequest([5, 6, 7], 3))
    await side.aclose()
    assert side.name == "transformers (nf4)"
    assert (answer.prompt, answer.prefilled, answer.written, len(answer.arrivals)) == (3, 3, 3, 3)


async def test_transformers_load_error_is_reported():
    says = 'print(\'{"error": "There is no model \\\\"x\\\\"."}\')'
    with pytest.raises(BenchError, match=r'^transformers can\'t be measured: There is no model "x"\.$'):
        await start_transformers("x", "auto", [sys.executable, "-c", says])
