"""Routing of requests to models and adapters, over the engine's real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import serving

from inference.api.engine_errors import EngineError, ModelRefused
from inference.api.requests import CompletionRequest
from inference.client.engine_client import EngineClient
from inference.models import adapter_store
from inference.models.catalog import CATALOG


def make(name: str, base: str = "starter") -> Path:
    """Create an adapter that is valid except for its tensors, which only the model thread reads."""
    folder = adapter_store.location(name)
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / "adapter_model.safetensors").write_bytes(b"")
    (folder / "tuning.json").write_text(json.dumps({"format": 1, "base": base}))
    return folder


@asynccontextmanager
async def http_client(runtime, *models: ScriptedModel) -> AsyncIterator[httpx.AsyncClient]:
    completion, *chat = models or (ScriptedModel(["a"]),)
    async with serving(runtime, completion, chat=chat[0] if chat else None) as running:
        transport = httpx.AsyncHTTPTransport(uds=str(running.socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
            yield client


async def test_adapter_is_chosen_by_name_and_named_in_the_response(runtime):
    make("mine")
    messages = [{"role": "user", "content": "Hi"}]
    async with http_client(runtime) as client:
        plain = (await client.post("/v1/completions", json={"prompt": "x"})).json()
        completed = (await client.post("/v1/completions", json={"prompt": "x", "model": "mine"})).json()
        chatted = (await client.post("/v1/chat/completions", json={"messages": messages, "model": "mine"})).json()
        body = {"input_data": {"input_string": ["x"]}, "model": "mine"}
        scored = (await client.post("/score", json=body)).json()
    assert (plain["model"], plain["choices"][0]["text"]) == ("starter", "a")
    assert (completed["model"], completed["choices"][0]["text"]) == ("mine", "<mine>a")
    assert (chatted["model"], chatted["choices"][0]["message"]["content"]) == ("mine", "<mine>a")
    assert scored == [{"0": "x<mine>a"}]


async def test_adapter_is_applied_to_its_own_base_of_two_models(runtime):
    """For completion too, although the other model has that role."""
    make("mine", "codellama-13b-instruct")
    seven = ScriptedModel(["seven"], row=CATALOG["codellama-7b"], contexts={"completion": 4096})
    instruct = ScriptedModel(["instruct"], row=CATALOG["codellama-13b-instruct"], contexts={"chat": 2048})
    async with http_client(runtime, seven, instruct) as client:
        response = (await client.post("/v1/completions", json={"prompt": "x", "model": "mine"})).json()
    assert response["choices"][0]["text"] == "<mine>instruct"


async def test_model_list_has_usable_adapters_with_their_parent(runtime):
    for name, base in (("mine", "starter"), ("other", "codellama-7b"), ("unknown", "")):
        make(name, base)
    (make("broken") / "adapter_config.json").write_text("{")
    async with serving(runtime, ScriptedModel()) as running:
        client = EngineClient(running.socket)
        models = await client.models()
        await client.aclose()
    fields = [(model["id"], model["parent"], model["infill"], model["max_model_len"]) for model in models]
    assert fields == [
        ("starter", None, True, 8192),
        ("mine", "starter", True, 8192),
        ("unknown", "starter", True, 8192),
    ]


async def test_model_list_has_only_model_ids_while_loading(runtime):
    """An adapter is listed once its base model is loaded."""
    make("mine")
    async with serving(runtime, ScriptedModel(), phase="loading") as running:
        running.service.weights.loaded = {}
        client = EngineClient(running.socket)
        models = await client.models()
        await client.aclose()
    assert [model["id"] for model in models] == ["starter"]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
@pytest.mark.parametrize("name", ["yours", "../mine", "codellama-7b", "gpt/4"])
async def test_unknown_name_is_model_not_found(runtime, path, name):
    make("mine")
    body = {"prompt": "x", "messages": [{"role": "user", "content": "Hi"}], "model": name}
    async with http_client(runtime) as client:
        response = await client.post(path, json=body)
    assert response.status_code == 404
    assert response.json()["error"] == {
        "message": f"The engine runs 'starter', not '{name}', and there is no adapter '{name}': use one that it runs.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


@pytest.mark.parametrize("stream", [True, False])
async def test_adapter_of_another_base_is_refused_before_streaming(runtime, stream):
    make("other", "codellama-7b")
    async with http_client(runtime) as client:
        response = await client.post("/v1/completions", json={"prompt": "x", "model": "other", "stream": stream})
    assert response.status_code == 400
    assert response.json()["error"] == {
        "message": "The adapter 'other' was trained on codellama-7b, not on starter. Use it with that model.",
        "type": "invalid_request_error",
        "param": "model",
        "code": None,
    }


async def test_adapter_of_a_base_model_does_not_chat(runtime):
    make("mine", "codellama-7b")
    seven = ScriptedModel(row=CATALOG["codellama-7b"], contexts={"completion": 4096})
    body = {"messages": [{"role": "user", "content": "Hi"}], "model": "mine"}
    async with http_client(runtime, seven) as client:
        response = await client.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("codellama-7b was not trained to chat")


async def test_adapter_with_bad_tensors_is_a_client_error(runtime):
    """The tensors are read on the model thread, after routing."""
    make("broken")
    async with http_client(runtime) as client:
        response = await client.post("/v1/completions", json={"prompt": "x", "model": "broken"})
        valid = await client.post("/v1/completions", json={"prompt": "x"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "model")
    assert response.json()["error"]["message"] == "The adapter 'broken' can't be read."
    assert valid.status_code == 200


@pytest.mark.parametrize("name", ["broken", "missing"])
async def test_client_raises_model_refused_for_an_adapter(runtime, name):
    """The caller may retry without the adapter."""
    make("broken")
    async with serving(runtime, ScriptedModel(["boom"])) as running:
        client = EngineClient(running.socket)
        with pytest.raises(ModelRefused, match=name):
            [event async for event in client.complete(CompletionRequest("x", model=name))]
        with pytest.raises(EngineError) as failure:
            [event async for event in client.complete(CompletionRequest("x"))]
        await client.aclose()
    assert not isinstance(failure.value, ModelRefused)
