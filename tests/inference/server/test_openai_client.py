"""The API as OpenAI's own client has it, over the Unix socket and over TCP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import log

import httpx2
import openai
import pytest
from fakes.answerer import ScriptedAnswerer
from openai.types.chat import ChatCompletionMessageParam
from support.fixtures_engine import serving

from inference.api.status import Phase

TOKEN = "a token of this test's own"
HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]


@asynccontextmanager
async def asking(
    runtime, door: str, *pieces: str, phase: Phase = "ready"
) -> AsyncIterator[tuple[openai.AsyncOpenAI, list]]:
    """OpenAI's client through one of the doors, and what the model is asked with."""
    answerer = ScriptedAnswerer(list(pieces) or ["Hel", "lo"])
    async with serving(runtime, answerer, phase=phase, token=TOKEN) as running:
        if door == "socket":
            transport = httpx2.AsyncHTTPTransport(uds=str(running.socket))
            base, http, key = "http://engine/v1", openai.DefaultAsyncHttpxClient(transport=transport), "none"
        else:
            base, http, key = f"http://127.0.0.1:{running.port}/v1", openai.DefaultAsyncHttpxClient(), TOKEN
        async with openai.AsyncOpenAI(base_url=base, api_key=key, http_client=http, max_retries=0) as client:
            yield client, answerer.asked


doors = pytest.mark.parametrize("door", ["socket", "tcp"])


@doors
async def test_completion_with_all_that_is_served(runtime, door):
    async with asking(runtime, door) as (client, asked):
        answer = await client.completions.create(
            model="starter", prompt="abc", suffix="xyz", max_tokens=7, temperature=0.5, top_p=0.9, stop=["\n\n"], seed=3
        )
    assert [(c.index, c.text, c.finish_reason, c.logprobs) for c in answer.choices] == [(0, "Hello", "stop", None)]
    assert (answer.model, answer.object) == ("starter", "text_completion")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (3, 2, 5)
    ((prompt, suffix, sampling),) = asked
    assert (prompt, suffix) == ("abc", "xyz")
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p) == (7, 0.5, 0.9)
    assert (sampling.stop, sampling.seed, sampling.logprobs) == (("\n\n",), 3, None)


@doors
@pytest.mark.parametrize("prompt", [[1, 2, 3], [[1, 2, 3]]])
async def test_completion_of_token_ids(runtime, door, prompt):
    async with asking(runtime, door) as (client, asked):
        await client.completions.create(model="starter", prompt=prompt)
    assert asked[0][0] == [1, 2, 3]


@doors
async def test_several_answers_each_with_a_seed_of_its_own(runtime, door):
    async with asking(runtime, door) as (client, asked):
        answer = await client.completions.create(model="starter", prompt="abc", n=3, seed=5, temperature=1)
        chat = await client.chat.completions.create(model="starter", messages=HI, n=2)
    assert [(c.index, c.text) for c in answer.choices] == [(0, "Hello"), (1, "Hello"), (2, "Hello")]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 6)
    assert [sampling.seed for _, _, sampling in asked] == [5, 6, 7, None, None]
    assert [(c.index, c.message.content) for c in chat.choices] == [(0, "Hello"), (1, "Hello")]


@doors
async def test_logprobs_of_completions(runtime, door):
    async with asking(runtime, door, "é", "b") as (client, _):
        answer = await client.completions.create(model="starter", prompt="abc", logprobs=2)
        none = await client.completions.create(model="starter", prompt="abc", logprobs=0)
    told = answer.choices[0].logprobs
    assert told is not None
    assert told.tokens == ["é", "b"]
    assert told.token_logprobs == [log(0.5), log(0.5)]
    assert told.top_logprobs == [{"é": log(0.5), "other": log(0.25)}, {"b": log(0.5), "other": log(0.25)}]
    assert told.text_offset == [0, 1]
    assert none.choices[0].logprobs is not None
    assert none.choices[0].logprobs.top_logprobs == [{}, {}]


@doors
async def test_logprobs_of_chats(runtime, door):
    async with asking(runtime, door, "é") as (client, _):
        answer = await client.chat.completions.create(model="starter", messages=HI, logprobs=True, top_logprobs=2)
    told = answer.choices[0].logprobs
    assert told is not None and told.content is not None
    (token,) = told.content
    assert (token.token, token.bytes, token.logprob) == ("é", list("é".encode()), log(0.5))
    assert [(other.token, other.logprob) for other in token.top_logprobs] == [("é", log(0.5)), ("other", log(0.25))]


@doors
async def test_stream_without_usage_has_none(runtime, door):
    async with asking(runtime, door) as (client, _):
        stream = await client.completions.create(model="starter", prompt="abc", stream=True, logprobs=1)
        events = [event async for event in stream]
    assert [event.choices[0].text for event in events] == ["Hel", "lo", ""]
    assert [event.choices[0].finish_reason for event in events] == [None, None, "stop"]
    assert [event for event in events if event.usage is not None] == []
    offsets = [told.text_offset for event in events if (told := event.choices[0].logprobs)]
    assert offsets == [[0], [3]]


@doors
async def test_stream_with_usage_ends_with_it(runtime, door):
    async with asking(runtime, door) as (client, _):
        stream = await client.completions.create(
            model="starter", prompt="abc", stream=True, n=2, stream_options={"include_usage": True}
        )
        *events, last = [event async for event in stream]
    texts = ["".join(c.text for event in events for c in event.choices if c.index == n) for n in (0, 1)]
    assert texts == ["Hello", "Hello"]
    assert [event for event in events if event.usage is not None] == []
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (3, 4)


@doors
async def test_chat_stream_begins_with_the_role(runtime, door):
    async with asking(runtime, door) as (client, _):
        stream = await client.chat.completions.create(
            model="starter", messages=HI, stream=True, stream_options={"include_usage": True}
        )
        events = [event async for event in stream]
    deltas = [event.choices[0].delta for event in events[:-1]]
    assert [(delta.role, delta.content) for delta in deltas] == [
        ("assistant", ""),
        (None, "Hel"),
        (None, "lo"),
        (None, None),
    ]
    assert events[-2].choices[0].finish_reason == "stop"
    assert events[-1].usage is not None


@doors
async def test_models_are_listed_and_found_by_name(runtime, door):
    async with asking(runtime, door) as (client, _):
        models = [model.id async for model in client.models.list()]
        one = await client.models.retrieve("starter")
        with pytest.raises(openai.NotFoundError) as missing:
            await client.models.retrieve("gpt")
    assert (models, one.id) == (["starter"], "starter")
    assert missing.value.code == "model_not_found"


@doors
@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"echo": True}, "echo"),
        ({"best_of": 2}, "best_of"),
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"logprobs": 21}, "logprobs"),
    ],
)
async def test_wrong_field_is_named(runtime, door, wrong, param):
    """One that is not served too: an answer without it would look like what was asked for."""
    async with asking(runtime, door) as (client, asked):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.completions.create(model="starter", prompt="abc", **wrong)
    assert (refused.value.param, refused.value.type) == (param, "invalid_request_error")
    assert asked == []


@doors
async def test_fields_at_their_defaults_are_fine(runtime, door):
    """Many clients send them all."""
    async with asking(runtime, door) as (client, _):
        answer = await client.completions.create(
            model="starter", prompt="abc", echo=False, best_of=1, frequency_penalty=0, presence_penalty=0, logit_bias={}
        )
    assert answer.choices[0].text == "Hello"


@doors
async def test_what_is_not_ready_or_broken_is_an_error_of_its_kind(runtime, door):
    async with asking(runtime, door, phase="loading") as (client, _):
        with pytest.raises(openai.InternalServerError) as loading:
            await client.completions.create(model="starter", prompt="abc")
    async with asking(runtime, door, "boom") as (client, _):
        for stream in (True, False):
            with pytest.raises(openai.InternalServerError) as broken:
                await client.completions.create(model="starter", prompt="abc", stream=stream)
    assert (loading.value.status_code, loading.value.code) == (503, "loading")
    assert loading.value.response.headers["retry-after"] == "1"
    assert (broken.value.status_code, broken.value.type) == (500, "server_error")


async def test_without_the_token_nothing_is_told_over_tcp(runtime):
    async with asking(runtime, "tcp") as (client, asked):
        for key in ("wrong", TOKEN[:-1], TOKEN + "x", "ä"):
            with pytest.raises((openai.AuthenticationError, UnicodeEncodeError)):
                await client.with_options(api_key=key).completions.create(model="starter", prompt="abc")
    assert asked == []


async def test_what_is_a_windows_own_affair_is_not_served_over_tcp(runtime):
    async with serving(runtime, ScriptedAnswerer(), token=TOKEN) as running:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{running.port}", headers=bearer) as client:
            statuses = {
                path: (await client.get(path)).status_code for path in ("/health", "/stats", "/lease", "/retire")
            }
            retired = (await client.post("/retire", json={})).status_code
            bare = (await client.get("/health", headers={"Authorization": ""})).headers["www-authenticate"]
    assert statuses == {"/health": 200, "/stats": 200, "/lease": 404, "/retire": 404}
    assert (retired, bare) == (404, "Bearer")
    assert running.service.board.status.phase == "ready"
