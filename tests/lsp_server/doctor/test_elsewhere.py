"""``codellama-ls doctor`` where a server elsewhere answers: it is looked at, and nothing is loaded here."""

from __future__ import annotations

import asyncio
import json

import pytest
from fakes.answerer import ScriptedAnswerer
from fakes.llama_server import listening
from fakes.openai_server import FakeOpenAi
from support.fixtures_engine import serving
from support.fixtures_remote import TOKEN, put_vocabulary, sharing

from inference.doctor import hardware
from lsp_server.backend.allowed_servers import LOCAL, TOKEN_VARIABLE, URL_VARIABLE
from lsp_server.commands import doctor_command
from lsp_server.doctor import settings_checks


@pytest.fixture
def settings(runtime, tmp_path, monkeypatch):
    """Settings for ``codellama-7b``, and a machine at which nothing may be looked."""
    monkeypatch.setattr(hardware, "ask", lambda options: pytest.fail("torch was asked"))
    file = tmp_path / "settings.json"
    file.write_text('{"engine": {"model": "codellama-7b"}}')
    return str(file)


async def examined(url: str, monkeypatch, capsys, *arguments: str, token: str = "") -> tuple[int, dict[str, list[str]]]:
    monkeypatch.setenv(URL_VARIABLE, url)
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    status = await asyncio.to_thread(doctor_command.main, ["--json", *arguments])
    checks = json.loads(capsys.readouterr().out)["checks"]
    return status, {check["name"]: [check["verdict"], check["text"]] for check in checks}


async def test_it_is_asked_as_a_window_asks(small, settings, monkeypatch, capsys):
    fake = sharing(small)
    async with listening(fake.app()) as url:
        status, found = await examined(url, monkeypatch, capsys, "--settings", settings)
    assert status == 0
    assert found["server elsewhere"] == ["ok", f"{url} serves codellama/CodeLlama-7b-hf; it is asked with token ids"]
    assert found["completion"][1].endswith(" ms for 8 tokens, the way included")
    assert (len(fake.probes), len(fake.asked)) == (2, 1)
    assert not {"engine", "models", "GPU"} & set(found)


async def test_a_model_that_chats_is_asked_to(small, settings, tmp_path, monkeypatch, capsys):
    put_vocabulary("codellama-7b-instruct")
    file = tmp_path / "settings.json"
    file.write_text('{"engine": {"model": "codellama-7b-instruct"}}')
    fake = sharing(small)
    async with listening(fake.app()) as url:
        status, found = await examined(url, monkeypatch, capsys, "--settings", settings)
    assert (status, found["chat"][0]) == (0, "ok")
    assert fake.asked[1]["messages"] == [{"role": "user", "content": "Say hello."}]


@pytest.mark.parametrize(
    ("says", "verdict", "text"),
    [
        (["…"], "problem", "only 0 characters came within 0 s"),
        (["a", "…"], "warning", "only 1 characters came within 0 s"),
        ([], "warning", "the model had nothing to say, after "),
        (["break"], "problem", "closed the connection in the middle of a request."),
    ],
)
async def test_an_answer_that_is_none_is_not_well(small, settings, monkeypatch, capsys, says, verdict, text):
    """What the server can do was found out, and yet nobody would see a completion."""
    monkeypatch.setattr(settings_checks, "DEADLINE_MS", 300)
    async with listening(sharing(small, says=says).app()) as url:
        status, found = await examined(url, monkeypatch, capsys, "--settings", settings)
    assert (status, found["server elsewhere"][0]) == (int(verdict == "problem"), "ok")
    assert (found["completion"][0], text in found["completion"][1]) == (verdict, True)


async def test_the_address_of_an_editors_command_line_may_be_given(small, settings, monkeypatch, capsys):
    async with listening(sharing(small).app()) as url:
        arguments = ("--settings", settings, "--quick", "--engine-url", url)
        status, found = await examined(LOCAL, monkeypatch, capsys, *arguments)
    assert (status, found["server elsewhere"][1].startswith(f"{url} serves")) == (0, True)


async def test_quick_asks_for_no_completion(small, settings, monkeypatch, capsys):
    fake = sharing(small)
    async with listening(fake.app()) as url:
        status, found = await examined(url, monkeypatch, capsys, "--settings", settings, "--quick")
    assert (status, fake.asked, "completion" in found) == (0, [], False)


async def test_an_engine_of_ours_needs_no_vocabulary_here(no_models, settings, monkeypatch, capsys, runtime):
    async with serving(runtime, ScriptedAnswerer(), token=TOKEN) as running:
        url = f"http://127.0.0.1:{running.port}"
        status, found = await examined(url, monkeypatch, capsys, "--settings", settings, token=TOKEN)
    assert status == 0
    assert found["server elsewhere"][1] == f"{url} serves starter; it is an engine of ours and builds prompts itself"


async def test_what_is_wrong_is_a_problem(small, settings, monkeypatch, capsys):
    async with listening(FakeOpenAi(token="right").app()) as url:
        status, found = await examined(url, monkeypatch, capsys, "--settings", settings, token="wrong")
    assert status == 1
    verdict, text = found["server elsewhere"]
    assert (verdict, text.startswith(f"{url} rejected the token")) == ("problem", True)
