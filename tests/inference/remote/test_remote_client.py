"""Requests to a remote server, field by field, and its responses, over real HTTP."""

from __future__ import annotations

import asyncio

import pytest
from fakes.clock import ManualClock
from fakes.openai_server import FakeOpenAi
from fakes.scripted_model import ScriptedModel
from support.fixtures_remote import connected, own_engine, sharing, told

from inference.api.engine_errors import ModelRefused
from inference.api.events import Finished, Sampling, TextChunk
from inference.api.requests import ChatRequest, CompletionRequest
from inference.models import store
from inference.remote.remote_client import RemoteClient
from inference.remote.server_profile import ProbeRequest, probe
from inference.text.llama_tokenizer import CodeLlamaTokenizer
from inference.text.prompts import Message, Snippet
from inference.text.stopping import StopRule

LINE = StopRule("line")


async def test_infilling_prompt_equals_the_reference_ids(codellama_vocabulary, no_models):
    """The prompt of ggml-org/llama.cpp#3503, an independent source of ids."""
    folder = store.put_vocabulary("codellama-13b", [codellama_vocabulary / "tokenizer.model"])
    tokenizer = CodeLlamaTokenizer(folder)
    fake = sharing(tokenizer, models=[{"id": "codellama/CodeLlama-13b-hf"}])
    async with connected(fake, "codellama-13b") as client:
        prefix, suffix = 'def remove_non_ascii(s: str) -> str:\n    """ ', "\n    return result\n"
        await told(client, CompletionRequest(prefix, suffix, sampling=Sampling(max_tokens=64)))
    reference = (
        "1 32007 822 3349 29918 5464 29918 294 18869 29898 29879 29901 851 29897 1599 851 29901 13 1678 9995 29871 "
        "32008 13 1678 736 1121 13 32009"
    )
    assert fake.asked == [
        {
            "model": "codellama/CodeLlama-13b-hf",
            "prompt": [int(i) for i in reference.split()],
            "stop_token_ids": [2, 32010],
            "max_tokens": 64,
            "temperature": 0.0,
            "top_p": 1.0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]


async def test_own_fields_are_not_sent_to_other_servers(small):
    """Another server gets the code at the cursor, but no session, document or stop rule."""
    fake = sharing(small)
    request = CompletionRequest(
        "x = ", "\n", sampling=Sampling(max_tokens=8, temperature=0.8, seed=3, stop=("END",)), stop_rule=LINE,
        priority="prefetch", deadline_ms=60_000, session="file:///a.py", user="window", n=1,
    )  # fmt: skip
    async with connected(fake) as client:
        await told(client, request)
    sent = {"model", "prompt", "stop_token_ids", "max_tokens", "temperature", "top_p", "seed", "stop", "stream"}
    assert set(fake.asked[0]) == sent | {"stream_options"}
    assert (fake.asked[0]["stop"], fake.asked[0]["seed"], fake.asked[0]["temperature"]) == (["\n", "END"], 3, 0.8)


async def test_snippets_are_in_the_prompt(small):
    fake = sharing(small)
    chunk = Snippet("a.py", "y = 1")
    async with connected(fake) as client:
        await told(client, CompletionRequest("x = ", context=(chunk,)))
    assert fake.asked[0]["prompt"] == [1, *small.encode("# Path: a.py\n# y = 1\nx =")]


async def test_prompt_of_ids_is_cut_to_the_context_length(small):
    fake = sharing(small, models=[{"id": "codellama-7b", "max_model_len": 300}])
    async with connected(fake) as client:
        await told(client, CompletionRequest("x = 1\n" * 1000, "\n" * 100, sampling=Sampling(max_tokens=200)))
    assert fake.asked[0]["max_tokens"] == 150
    assert len(fake.asked[0]["prompt"]) <= 150


@pytest.mark.parametrize(("takes", "prefix", "suffix"), [({"suffix"}, 225, 75), (set(), 300, 0)])
async def test_prompt_of_text_is_cut_to_the_context_length(no_models, takes, prefix, suffix):
    """A token is estimated as two characters. The text farthest from the cursor is cut."""
    model = {"id": "codellama-34b", "max_model_len": 300}
    fake = FakeOpenAi(takes=frozenset(takes), models=[model])
    async with connected(fake, "codellama-34b") as client:
        request = CompletionRequest("a" * 1000 + "b" * 225, "c" * 75 + "d" * 1000, sampling=Sampling(max_tokens=200))
        await told(client, request)
    (body,) = fake.asked
    assert (body["prompt"], body.get("suffix", "")) == (("a" * 100 + "b" * 225)[-prefix:], "c" * suffix)


async def test_stop_rule_ends_the_completion_and_the_stream(small):
    fake = sharing(small, says=["a +", " b\n    ", "c\nd", "…"])
    request = CompletionRequest("    x = ", "\n", stop_rule=StopRule("block", 4))
    async with connected(fake) as client:
        text, outcome = await told(client, request)
        await asyncio.wait_for(fake.left.wait(), 10)
    assert (text, outcome.cause) == ("a + b\n    c", "rule")
    assert (outcome.prompt_tokens, outcome.completion_tokens) == (len(fake.asked[0]["prompt"]), 3)


async def test_repeated_suffix_ends_the_completion(no_models):
    fake = FakeOpenAi(takes=frozenset(), says=["a)", " # more"], models=[{"id": "codellama/CodeLlama-34b-hf"}])
    async with connected(fake, "codellama-34b") as client:
        text, outcome = await told(client, CompletionRequest("f(", ")\n"))
    assert (text, outcome.cause) == ("a", "suffix")


async def test_end_of_infill_text_is_never_shown(small):
    """A server may not treat that token as an end and write its text."""
    async with connected(sharing(small, says=["a", " <EO", "T> b"])) as client:
        text, outcome = await told(client, CompletionRequest("x = ", "\n"))
    assert (text, outcome.cause) == ("a", "stop")


@pytest.mark.parametrize(("chunks", "text"), [([" ", " 1"], "1"), (["  1"], "1"), (["1"], "1"), ([" 1"], "1")])
async def test_blanks_before_the_cursor_are_not_repeated(small, chunks, text):
    """The prompt ends before blanks, because tokens of words begin with one."""
    fake = sharing(small, says=chunks)
    async with connected(fake) as client:
        assert (await told(client, CompletionRequest("x =  ")))[0] == text
    assert fake.asked[0]["prompt"] == [1, *small.encode("x =")]


async def test_closing_early_cancels_the_request(small):
    fake = sharing(small, says=["a", "…", "b"])
    async with connected(fake) as client:
        stream = client.complete(CompletionRequest("x"))
        assert await anext(stream) == TextChunk("a")
        await stream.aclose()
        await asyncio.wait_for(fake.left.wait(), 10)


async def test_deadline_keeps_the_partial_completion(small):
    fake = sharing(small, says=["a", "…", "b"])
    async with connected(fake) as client:
        text, outcome = await told(client, CompletionRequest("x", deadline_ms=200))
        await asyncio.wait_for(fake.left.wait(), 10)
    assert (text, outcome.cause) == ("a", "deadline")


async def test_outcome_has_cause_tokens_and_milliseconds(small):
    clock = ManualClock()
    async with connected(sharing(small, says=["a", "b"]), clock=clock) as client:
        stream = client.complete(CompletionRequest("x"))
        assert await anext(stream) == TextChunk("a")
        clock.advance(0.5)
        *_, last = [event async for event in stream]
    assert isinstance(last, Finished)
    assert (last.outcome.cause, last.outcome.completion_tokens, last.outcome.decode_ms) == ("end", 2, 500)


@pytest.mark.parametrize("text", ["a\u2028b\x85c\x0bd", "é😋"])
async def test_unicode_line_breaks_survive_the_stream(small, text):
    """``str.splitlines`` splits at more characters than server-sent events do."""
    async with connected(sharing(small, says=[text])) as client:
        assert (await told(client, CompletionRequest("x")))[0] == text


async def test_only_listed_models_can_be_requested(small):
    fake = sharing(small, models=[{"id": "codellama-7b"}, {"id": "mine", "parent": "codellama-7b"}])
    async with connected(fake) as client:
        await told(client, CompletionRequest("x", model="mine"))
        with pytest.raises(ModelRefused, match="there has no model or adapter 'yours'"):
            await told(client, CompletionRequest("x", model="yours"))
    assert [body["model"] for body in fake.asked] == ["mine"]


async def test_empty_prefix_sends_no_request(no_models):
    fake = FakeOpenAi(takes=frozenset(), models=[{"id": "codellama/CodeLlama-34b-hf"}])
    async with connected(fake, "codellama-34b") as client:
        assert (await told(client, CompletionRequest("", "x = 1")))[0] == ""
    assert fake.asked == []


async def test_suffix_is_sent_to_a_server_that_infills(no_models):
    fake = FakeOpenAi(takes=frozenset({"suffix"}), models=[{"id": "anything"}], says=["a", ")"])
    async with connected(fake, "gpt") as client:
        assert (await told(client, CompletionRequest("f(", ")\r\n")))[0] == "a"
    assert (fake.asked[0]["prompt"], fake.asked[0]["suffix"]) == ("f(", ")\n")


async def test_chat_has_openais_shape(small):
    fake = sharing(small, says=["Hel", "lo"])
    messages = (Message("system", "Be brief."), Message("user", "Hi"))
    async with connected(fake) as client:
        text, outcome = await told(client, ChatRequest(messages, sampling=Sampling(max_tokens=9)))
    assert (text, outcome.cause, outcome.prompt_tokens) == ("Hello", "end", 7)
    assert fake.asked == [
        {
            "model": "codellama/CodeLlama-7b-hf",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
            "max_tokens": 9,
            "temperature": 0.0,
            "top_p": 1.0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]


async def test_own_engine_gets_the_unchanged_request(runtime, no_models):
    """The engine builds the prompt, applies stop rules and schedules by ``user``."""
    answerer = ScriptedModel(["a", "b"])
    request = CompletionRequest("x = ", ")", sampling=Sampling(max_tokens=5), stop_rule=LINE, user="window")
    async with own_engine(runtime, answerer) as (_, http):
        client = RemoteClient(http, "there", await probe(http, "there", ProbeRequest("starter")))
        text, outcome = await told(client, request)
        answer, _ = await told(client, ChatRequest((Message("user", "Hi"),)))
    assert (text, answer) == ("ab", "ab")
    assert (outcome.cause, outcome.prompt_tokens, outcome.completion_tokens) == ("end", 4, 2)
    assert answerer.asked[0] == ("x = ", ")", Sampling(max_tokens=5))
