"""What a server elsewhere is sent, to the field, and what becomes of its answers, over real HTTP."""

from __future__ import annotations

import asyncio

import pytest
from fakes.answerer import ScriptedAnswerer
from fakes.clock import HandClock
from fakes.openai_server import FakeOpenAi
from support.fixtures_remote import connected, own_engine, sharing, told

from inference.api.errors import ModelRefused
from inference.api.events import Finished, Sampling, TextChunk
from inference.api.requests import ChatRequest, CompletionRequest
from inference.models import store
from inference.remote.remote_client import RemoteClient
from inference.remote.server_profile import ProbeRequest, probe
from inference.text.llama_tokenizer import CodeLlamaTokenizer
from inference.text.prompts import Message, Snippet
from inference.text.stopping import StopRule

LINE = StopRule("line")


async def test_infilling_is_asked_for_with_the_references_ids(codellama_vocabulary, no_models):
    """The prompt of ggml-org/llama.cpp#3503, an independent source of ids."""
    folder = store.put("codellama-13b", [codellama_vocabulary / "tokenizer.model"])
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


async def test_our_own_fields_stay_here(small):
    """A foreign server learns of the code at the cursor, and not of the window, the document or what else is set."""
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


async def test_pieces_of_other_files_are_in_the_prompt(small):
    fake = sharing(small)
    chunk = Snippet("a.py", "y = 1")
    async with connected(fake) as client:
        await told(client, CompletionRequest("x = ", context=(chunk,)))
    assert fake.asked[0]["prompt"] == [1, *small.encode("# Path: a.py\n# y = 1\nx =")]


async def test_a_prompt_has_no_more_tokens_than_the_server_has_room_for(small):
    fake = sharing(small, models=[{"id": "codellama-7b", "max_model_len": 300}])
    async with connected(fake) as client:
        await told(client, CompletionRequest("x = 1\n" * 1000, "\n" * 100, sampling=Sampling(max_tokens=200)))
    assert fake.asked[0]["max_tokens"] == 150
    assert len(fake.asked[0]["prompt"]) <= 150


@pytest.mark.parametrize(("takes", "prefix", "suffix"), [({"suffix"}, 225, 75), (set(), 300, 0)])
async def test_text_is_cut_to_what_the_server_has_room_for(no_models, takes, prefix, suffix):
    """Two characters a token: a server refuses what is too long. What is far from the cursor goes."""
    model = {"id": "codellama-34b", "max_model_len": 300}
    fake = FakeOpenAi(takes=frozenset(takes), models=[model])
    async with connected(fake, "codellama-34b") as client:
        request = CompletionRequest("a" * 1000 + "b" * 225, "c" * 75 + "d" * 1000, sampling=Sampling(max_tokens=200))
        await told(client, request)
    (body,) = fake.asked
    assert (body["prompt"], body.get("suffix", "")) == (("a" * 100 + "b" * 225)[-prefix:], "c" * suffix)


async def test_the_stop_rule_ends_the_answer_and_the_stream(small):
    fake = sharing(small, says=["a +", " b\n    ", "c\nd", "…"])
    request = CompletionRequest("    x = ", "\n", stop_rule=StopRule("block", 4))
    async with connected(fake) as client:
        text, outcome = await told(client, request)
        await asyncio.wait_for(fake.left.wait(), 10)
    assert (text, outcome.cause) == ("a + b\n    c", "rule")
    assert (outcome.prompt_tokens, outcome.completion_tokens) == (len(fake.asked[0]["prompt"]), 3)


async def test_what_follows_and_is_not_in_the_prompt_ends_the_answer(no_models):
    fake = FakeOpenAi(takes=frozenset(), says=["a)", " # more"], models=[{"id": "codellama/CodeLlama-34b-hf"}])
    async with connected(fake, "codellama-34b") as client:
        text, outcome = await told(client, CompletionRequest("f(", ")\n"))
    assert (text, outcome.cause) == ("a", "suffix")


async def test_the_word_for_the_end_of_an_infilling_is_never_shown(small):
    """A server may not know that token for an end, and write it."""
    async with connected(sharing(small, says=["a", " <EO", "T> b"])) as client:
        text, outcome = await told(client, CompletionRequest("x = ", "\n"))
    assert (text, outcome.cause) == ("a", "stop")


@pytest.mark.parametrize(("pieces", "text"), [([" ", " 1"], "1"), (["  1"], "1"), (["1"], "1"), ([" 1"], "1")])
async def test_blanks_before_the_cursor_are_not_written_twice(small, pieces, text):
    """They are left out of a prompt to continue, as no vocabulary has a word behind them."""
    fake = sharing(small, says=pieces)
    async with connected(fake) as client:
        assert (await told(client, CompletionRequest("x =  ")))[0] == text
    assert fake.asked[0]["prompt"] == [1, *small.encode("x =")]


async def test_leaving_early_frees_the_server(small):
    fake = sharing(small, says=["a", "…", "b"])
    async with connected(fake) as client:
        stream = client.complete(CompletionRequest("x"))
        assert await anext(stream) == TextChunk("a")
        await stream.aclose()
        await asyncio.wait_for(fake.left.wait(), 10)


async def test_after_the_deadline_what_there_is_has_to_do(small):
    fake = sharing(small, says=["a", "…", "b"])
    async with connected(fake) as client:
        text, outcome = await told(client, CompletionRequest("x", deadline_ms=200))
        await asyncio.wait_for(fake.left.wait(), 10)
    assert (text, outcome.cause) == ("a", "deadline")


async def test_what_an_answer_took_is_told(small):
    clock = HandClock()
    async with connected(sharing(small, says=["a", "b"]), clock=clock) as client:
        stream = client.complete(CompletionRequest("x"))
        assert await anext(stream) == TextChunk("a")
        clock.advance(0.5)
        *_, last = [event async for event in stream]
    assert isinstance(last, Finished)
    assert (last.outcome.cause, last.outcome.completion_tokens, last.outcome.decode_ms) == ("end", 2, 500)


@pytest.mark.parametrize("text", ["a\u2028b\x85c\x0bd", "é😋"])
async def test_any_character_comes_through(small, text):
    """Python's own idea of a line's end is not that of server-sent events."""
    async with connected(sharing(small, says=[text])) as client:
        assert (await told(client, CompletionRequest("x")))[0] == text


async def test_what_is_listed_can_be_asked_for_by_name_and_nothing_else(small):
    fake = sharing(small, models=[{"id": "codellama-7b"}, {"id": "mine", "parent": "codellama-7b"}])
    async with connected(fake) as client:
        await told(client, CompletionRequest("x", model="mine"))
        with pytest.raises(ModelRefused, match="there has no model or adapter 'yours'"):
            await told(client, CompletionRequest("x", model="yours"))
    assert [body["model"] for body in fake.asked] == ["mine"]


async def test_where_nothing_stands_before_the_cursor_nothing_is_asked(no_models):
    fake = FakeOpenAi(takes=frozenset(), models=[{"id": "codellama/CodeLlama-34b-hf"}])
    async with connected(fake, "codellama-34b") as client:
        assert (await told(client, CompletionRequest("", "x = 1")))[0] == ""
    assert fake.asked == []


async def test_suffix_is_sent_where_a_server_infills_by_itself(no_models):
    fake = FakeOpenAi(takes=frozenset({"suffix"}), models=[{"id": "anything"}], says=["a", ")"])
    async with connected(fake, "gpt") as client:
        assert (await told(client, CompletionRequest("f(", ")\r\n")))[0] == "a"
    assert (fake.asked[0]["prompt"], fake.asked[0]["suffix"]) == ("f(", ")\n")


async def test_chat_is_sent_in_openais_way(small):
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


async def test_an_engine_of_ours_is_sent_what_it_is_sent_at_home(runtime, no_models):
    """It builds the prompt, applies the rules and knows whose turn it is."""
    answerer = ScriptedAnswerer(["a", "b"])
    request = CompletionRequest("x = ", ")", sampling=Sampling(max_tokens=5), stop_rule=LINE, user="window")
    async with own_engine(runtime, answerer) as (_, http):
        client = RemoteClient(http, "there", await probe(http, "there", ProbeRequest("starter")))
        text, outcome = await told(client, request)
        answer, _ = await told(client, ChatRequest((Message("user", "Hi"),)))
    assert (text, answer) == ("ab", "ab")
    assert (outcome.cause, outcome.prompt_tokens, outcome.completion_tokens) == ("end", 4, 2)
    assert answerer.asked[0] == ("x = ", ")", Sampling(max_tokens=5))
