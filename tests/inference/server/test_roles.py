"""An engine with one model per role: routing and refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import serving

from inference.client.engine_client import EngineClient
from inference.client.engine_process import EngineOptions
from inference.models.catalog import CATALOG

HI = {"messages": [{"role": "user", "content": "Hi"}]}


def base() -> ScriptedModel:
    return ScriptedModel(["base"], row=CATALOG["codellama-7b"], contexts={"completion": 4096})


def instruct() -> ScriptedModel:
    return ScriptedModel(["instruct"], row=CATALOG["codellama-13b-instruct"], contexts={"chat": 2048})


@asynccontextmanager
async def http_client(runtime, *models: ScriptedModel) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(runtime, models[0], chat=models[1] if models[1:] else None) as running:
        transport = httpx.AsyncHTTPTransport(uds=str(running.socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
            yield client


async def test_each_endpoint_uses_the_model_of_its_role(runtime):
    async with http_client(runtime, base(), instruct()) as client:
        completed = (await client.post("/v1/completions", json={"prompt": "a"})).json()
        chatted = (await client.post("/v1/chat/completions", json=HI)).json()
    assert (completed["model"], completed["choices"][0]["text"]) == ("codellama-7b", "base")
    assert (chatted["model"], chatted["choices"][0]["message"]["content"]) == ("codellama-13b-instruct", "instruct")


@pytest.mark.parametrize("name", ["codellama-13b-instruct", "codellama/CodeLlama-13b-Instruct-hf"])
async def test_model_can_be_requested_by_name(runtime, name):
    async with http_client(runtime, base(), instruct()) as client:
        response = (await client.post("/v1/completions", json={"prompt": "a", "model": name})).json()
    assert response["choices"][0]["text"] == "instruct"


async def test_model_list_has_roles_and_abilities(runtime):
    async with serving(runtime, base(), chat=instruct()) as running:
        client = EngineClient(running.socket)
        models = await client.models()
        await client.aclose()
    fields = [(m["id"], m["infill"], m["chat"], m["roles"], m["max_model_len"]) for m in models]
    assert fields == [
        ("codellama-7b", True, None, ["completion"], 4096),
        ("codellama-13b-instruct", True, "llama", ["chat"], 2048),
    ]


@pytest.mark.parametrize("stream", [True, False])
async def test_base_model_refuses_chat_and_names_one_that_can(runtime, stream):
    """In OpenAI's format, before anything is streamed."""
    async with http_client(runtime, base()) as client:
        response = await client.post("/v1/chat/completions", json={**HI, "stream": stream})
    assert response.status_code == 400
    assert response.json()["error"] == {
        "message": "codellama-7b was not trained to chat. Choose codellama-7b-instruct for chat.",
        "type": "invalid_request_error",
        "param": "model",
        "code": None,
    }


async def test_error_for_unknown_model_names_the_loaded_ones(runtime):
    async with http_client(runtime, base(), instruct()) as client:
        response = await client.post("/v1/completions", json={"prompt": "a", "model": "gpt"})
    assert response.status_code == 404
    assert response.json()["error"]["message"].startswith(
        "The engine runs 'codellama-7b' and 'codellama-13b-instruct',"
    )


def test_engine_options_pass_both_models():
    """An empty chat model means the completion model."""
    one, two = EngineOptions("codellama/CodeLlama-7b-hf"), EngineOptions("codellama-7b", chat_model="starter")
    assert one.models == ("codellama-7b", "codellama-7b")
    assert two.models == ("codellama-7b", "starter")
    assert two.arguments()[:2] + two.arguments()[-2:] == ["--model", "codellama-7b", "--chat-model", "starter"]
