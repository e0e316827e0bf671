"""The sample input of the model card: parsed, over HTTP and from the command line."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from dataclasses import replace

import httpx
import pytest
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import serving

from inference.api.events import Sampling
from inference.api.requests import ScoreRequest, WireError, parse_score
from inference.models.catalog import CATALOG
from lsp_server import cli

CARD = {
    "input_data": {
        "input_string": ["def fibonacci("],
        "parameters": {"top_p": 0.9, "temperature": 0.2, "do_sample": True, "max_new_tokens": 100},
    }
}


def body(inputs: object = ("x",), **parameters: object) -> dict:
    return {
        "input_data": {"input_string": list(inputs) if isinstance(inputs, tuple) else inputs, "parameters": parameters}
    }


def test_model_cards_sample_is_parsed():
    sampling = Sampling(max_tokens=100, temperature=0.2, top_p=0.9)
    assert parse_score(CARD) == ScoreRequest(("def fibonacci(",), sampling)


def test_do_sample_false_is_greedy_at_any_temperature():
    """As in transformers' ``generate``."""
    sampling = parse_score(body(temperature=0.9, do_sample=False, seed=3)).sampling
    assert sampling == Sampling(max_tokens=100, temperature=0.0, seed=3)


@pytest.mark.parametrize(
    ("invalid", "param", "message"),
    [
        ([], None, "The request must be an object with input_data and model."),
        ({}, "input_data", "'input_data' must be an object with input_string and parameters."),
        ({"input_dat": {}}, "input_dat", "'input_dat' is unknown. Valid are input_data, model."),
        (body("x"), "input_data.input_string", "'input_data.input_string' must be a list of 1 to 64 strings."),
        (body(()), "input_data.input_string", "'input_data.input_string' must be a list of 1 to 64 strings."),
        (
            body(("a", "")),
            "input_data.input_string[1]",
            "'input_data.input_string[1]' must be a string that is not empty.",
        ),
        (
            body(top_p=1.5),
            "input_data.parameters.top_p",
            "'input_data.parameters.top_p' must be a number from 0 to 1.",
        ),
        (
            body(max_new_tokens=1.5),
            "input_data.parameters.max_new_tokens",
            "'input_data.parameters.max_new_tokens' must be a whole number from 1 to 8192.",
        ),
        (
            body(do_sample="yes"),
            "input_data.parameters.do_sample",
            "'input_data.parameters.do_sample' must be true or false, not a string.",
        ),
        (
            body(temprature=1),
            "input_data.parameters.temprature",
            "'input_data.parameters.temprature' is unknown. Valid are max_new_tokens, do_sample, temperature, "
            "top_p, seed.",
        ),
    ],
)
def test_invalid_request_names_the_field(invalid, param, message):
    with pytest.raises(WireError) as refused:
        parse_score(invalid)
    assert (str(refused.value), refused.value.param) == (message, param)


async def post(running, content) -> httpx.Response:
    transport = httpx.AsyncHTTPTransport(uds=str(running.socket))
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        return await client.post("/score", json=content)


async def test_response_has_one_object_per_input_with_its_prompt(runtime):
    async with serving(runtime, ScriptedModel(["n", "):"])) as running:
        one, two = await post(running, CARD), await post(running, body(("a", "b")))
    assert (one.status_code, one.json()) == (200, [{"0": "def fibonacci(n):"}])
    assert two.json() == [{"0": "an):"}, {"0": "bn):"}]


async def test_invalid_request_is_422_and_the_engine_keeps_running(runtime):
    async with serving(runtime, ScriptedModel()) as running:
        invalid, refused = await post(running, body(top_p=2)), await post(running, body(("refuse",)))
        valid = await post(running, CARD)
    assert (invalid.status_code, invalid.json()["error"]["param"]) == (422, "input_data.parameters.top_p")
    assert (refused.status_code, refused.json()["error"]["message"]) == (422, "This cannot be put to the model.")
    assert valid.status_code == 200


async def test_other_model_is_404(runtime):
    async with serving(runtime, ScriptedModel()) as running:
        answer = await post(running, {**CARD, "model": "codellama-7b"})
    assert answer.status_code == 404


async def infer(monkeypatch, content: str, *arguments: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    return await asyncio.to_thread(cli.main, ["infer", *arguments])


async def test_command_prints_only_the_response_to_stdout(runtime, monkeypatch, capsys):
    """A program reads it."""
    async with serving(runtime, ScriptedModel(["n", "):"])):
        assert await infer(monkeypatch, json.dumps(CARD)) == 0
    assert json.loads(capsys.readouterr().out) == [{"0": "def fibonacci(n):"}]


@pytest.mark.parametrize("content", ["{", "[]", json.dumps(body(top_p=2))])
async def test_command_refuses_invalid_input_without_an_engine(runtime, monkeypatch, capsys, content):
    assert await infer(monkeypatch, content) == 2
    assert not (runtime / "engine.log").exists()
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)


async def test_command_fails_if_another_model_runs(runtime, monkeypatch, capsys):
    answerer = replace(ScriptedModel(), row=CATALOG["codellama-7b"])
    async with serving(runtime, answerer):
        assert await infer(monkeypatch, json.dumps(CARD), "--model", "starter") == 1
    assert "The engine runs 'codellama-7b', not 'starter'" in capsys.readouterr().err
