"""The API used with OpenAI's own client, over the Unix socket and over TCP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import log

import httpx2
import openai
import pytest
from fakes.scripted_model import ScriptedModel
from openai.types.chat import ChatCompletionMessageParam
from support.fixtures_engine import serving

from inference.api.status import Phase

TOKEN = "a token for this test"
HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]


@asynccontextmanager
async def openai_client(
    runtime, listener: str, *chunks: str, phase: Phase = "ready"
) -> AsyncIterator[tuple[openai.AsyncOpenAI, list]]:
    """Yield OpenAI's client connected to a listener, and the list of the model's requests."""
    model = ScriptedModel(list(chunks) or ["Hel", "lo"])
    async with serving(runtime, model, phase=phase, token=TOKEN) as running:
        if listener == "socket":
            transport = httpx2.AsyncHTTPTransport(uds=str(running.socket))
            base, http, key = "http://engine/v1", openai.DefaultAsyncHttpxClient(transport=transport), "none"
        else:
            base, http, key = f"http://127.0.0.1:{running.port}/v1", openai.DefaultAsyncHttpxClient(), TOKEN
        async with openai.AsyncOpenAI(base_url=base, api_key=key, http_client=http, max_retries=0) as client:
            yield client, model.asked


listeners = pytest.mark.parametrize("listener", ["socket", "tcp"])


@listeners
async def test_completion_with_all_supported_fields(runtime, listener):
    async with openai_client(runtime, listener) as (client, requests):
        response = await client.completions.create(
            model="starter", prompt="abc", suffix="xyz", max_tokens=7, temperature=0.5, top_p=0.9, stop=["\n\n"], seed=3
        )
    assert [(c.index, c.text, c.finish_reason, c.logprobs) for c in response.choices] == [(0, "Hello", "stop", None)]
    assert (response.model, response.object) == ("starter", "text_completion")
    assert response.usage is not None
    assert (response.usage.prompt_tokens, response.usage.completion_tokens, response.usage.total_tokens) == (3, 2, 5)
    ((prompt, suffix, sampling),) = requests
    assert (prompt, suffix) == ("abc", "xyz")
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p) == (7, 0.5, 0.9)
    assert (sampling.stop, sampling.seed, sampling.logprobs) == (("\n\n",), 3, None)


@listeners
@pytest.mark.parametrize("prompt", [[1, 2, 3], [[1, 2, 3]]])
async def test_completion_of_token_ids(runtime, listener, prompt):
    async with openai_client(runtime, listener) as (client, requests):
        await client.completions.create(model="starter", prompt=prompt)
    assert requests[0][0] == [1, 2, 3]


@listeners
async def test_each_choice_has_its_own_seed(runtime, listener):
    async with openai_client(runtime, listener) as (client, requests):
        response = await client.completions.create(model="starter", prompt="abc", n=3, seed=5, temperature=1)
        chat = await client.chat.completions.create(model="starter", messages=HI, n=2)
    assert [(c.index, c.text) for c in response.choices] == [(0, "Hello"), (1, "Hello"), (2, "Hello")]
    assert response.usage is not None
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (3, 6)
    assert [sampling.seed for _, _, sampling in requests] == [5, 6, 7, None, None]
    assert [(c.index, c.message.content) for c in chat.choices] == [(0, "Hello"), (1, "Hello")]


@listeners
async def test_logprobs_of_completions(runtime, listener):
    async with openai_client(runtime, listener, "é", "b") as (client, _):
        response = await client.completions.create(model="starter", prompt="abc", logprobs=2)
        none = await client.completions.create(model="starter", prompt="abc", logprobs=0)
    logprobs = response.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens == ["é", "b"]
    assert logprobs.token_logprobs == [log(0.5), log(0.5)]
    assert logprobs.top_logprobs == [{"é": log(0.5), "other": log(0.25)}, {"b": log(0.5), "other": log(0.25)}]
    assert logprobs.text_offset == [0, 1]
    assert none.choices[0].logprobs is not None
    assert none.choices[0].logprobs.top_logprobs == [{}, {}]


@listeners
async def test_logprobs_of_chats(runtime, listener):
    async with openai_client(runtime, listener, "é") as (client, _):
        response = await client.chat.completions.create(model="starter", messages=HI, logprobs=True, top_logprobs=2)
    logprobs = response.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    (token,) = logprobs.content
    assert (token.token, token.bytes, token.logprob) == ("é", list("é".encode()), log(0.5))
    assert [(other.token, other.logprob) for other in token.top_logprobs] == [("é", log(0.5)), ("other", log(0.25))]


@listeners
async def test_stream_without_usage_has_none(runtime, listener):
    async with openai_client(runtime, listener) as (client, _):
        stream = await client.completions.create(model="starter", prompt="abc", stream=True, logprobs=1)
        events = [event async for event in stream]
    assert [event.choices[0].text for event in events] == ["Hel", "lo", ""]
    assert [event.choices[0].finish_reason for event in events] == [None, None, "stop"]
    assert [event for event in events if event.usage is not None] == []
    offsets = [logprobs.text_offset for event in events if (logprobs := event.choices[0].logprobs)]
    assert offsets == [[0], [3]]


@listeners
async def test_stream_with_usage_ends_with_it(runtime, listener):
    async with openai_client(runtime, listener) as (client, _):
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


@listeners
async def test_chat_stream_begins_with_the_role(runtime, listener):
    async with openai_client(runtime, listener) as (client, _):
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


@listeners
async def test_models_can_be_listed_and_retrieved(runtime, listener):
    async with openai_client(runtime, listener) as (client, _):
        models = [model.id async for model in client.models.list()]
        one = await client.models.retrieve("starter")
        with pytest.raises(openai.NotFoundError) as missing:
            await client.models.retrieve("gpt")
    assert (models, one.id) == (["starter"], "starter")
    assert missing.value.code == "model_not_found"


@listeners
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
async def test_invalid_field_is_named(runtime, listener, wrong, param):
    """Unsupported fields are refused too. Ignoring them would silently change the result."""
    async with openai_client(runtime, listener) as (client, requests):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.completions.create(model="starter", prompt="abc", **wrong)
    assert (refused.value.param, refused.value.type) == (param, "invalid_request_error")
    assert requests == []


@listeners
async def test_unsupported_fields_are_accepted_with_their_defaults(runtime, listener):
    """Many clients send all fields."""
    async with openai_client(runtime, listener) as (client, _):
        response = await client.completions.create(
            model="starter", prompt="abc", echo=False, best_of=1, frequency_penalty=0, presence_penalty=0, logit_bias={}
        )
    assert response.choices[0].text == "Hello"


@listeners
async def test_loading_and_failing_engines_raise_server_errors(runtime, listener):
    async with openai_client(runtime, listener, phase="loading") as (client, _):
        with pytest.raises(openai.InternalServerError) as loading:
            await client.completions.create(model="starter", prompt="abc")
    async with openai_client(runtime, listener, "boom") as (client, _):
        for stream in (True, False):
            with pytest.raises(openai.InternalServerError) as broken:
                await client.completions.create(model="starter", prompt="abc", stream=stream)
    assert (loading.value.status_code, loading.value.code) == (503, "loading")
    assert loading.value.response.headers["retry-after"] == "1"
    assert (broken.value.status_code, broken.value.type) == (500, "server_error")


async def test_requests_over_tcp_need_the_token(runtime):
    async with openai_client(runtime, "tcp") as (client, requests):
        for key in ("wrong", TOKEN[:-1], TOKEN + "x", "ä"):
            with pytest.raises((openai.AuthenticationError, UnicodeEncodeError)):
                await client.with_options(api_key=key).completions.create(model="starter", prompt="abc")
    assert requests == []


async def test_leases_and_shutdown_are_not_served_over_tcp(runtime):
    async with serving(runtime, ScriptedModel(), token=TOKEN) as running:
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
