"""``codellama-ls doctor`` with a remote server: the server is checked and no local model is loaded."""

from __future__ import annotations

import asyncio
import json

import pytest
from fakes.llama_server import listening
from fakes.openai_server import FakeOpenAi
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import serving
from support.fixtures_remote import TOKEN, put_vocabulary, sharing

from inference.doctor import hardware
from lsp_server.backend.allowed_servers import LOCAL, TOKEN_VARIABLE, URL_VARIABLE
from lsp_server.commands import doctor_command
from lsp_server.doctor import settings_checks


@pytest.fixture
def settings(runtime, tmp_path, monkeypatch):
    """Settings for ``codellama-7b`` on a machine whose torch must not be probed."""
    monkeypatch.setattr(hardware, "probe_torch", lambda options: pytest.fail("torch was probed"))
    file = tmp_path / "settings.json"
    file.write_text('{"engine": {"model": "codellama-7b"}}')
    return str(file)


async def run_doctor(
    url: str, monkeypatch, capsys, *arguments: str, token: str = ""
) -> tuple[int, dict[str, list[str]]]:
    monkeypatch.setenv(URL_VARIABLE, url)
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    status = await asyncio.to_thread(doctor_command.main, ["--json", *arguments])
    results = json.loads(capsys.readouterr().out)["checks"]
    return status, {one["name"]: [one["verdict"], one["text"]] for one in results}


async def test_server_is_probed_like_an_editor_session(small, settings, monkeypatch, capsys):
    fake = sharing(small)
    async with listening(fake.app()) as url:
        status, checks = await run_doctor(url, monkeypatch, capsys, "--settings", settings)
    assert status == 0
    assert checks["remote server"] == ["ok", f"{url} serves codellama/CodeLlama-7b-hf; it receives token ids"]
    assert checks["completion"][1].endswith(" ms for 8 tokens, network included")
    assert (len(fake.probes), len(fake.asked)) == (2, 1)
    assert not {"engine", "models", "GPU"} & set(checks)


async def test_chat_model_is_sent_a_chat_request(small, settings, tmp_path, monkeypatch, capsys):
    put_vocabulary("codellama-7b-instruct")
    file = tmp_path / "settings.json"
    file.write_text('{"engine": {"model": "codellama-7b-instruct"}}')
    fake = sharing(small)
    async with listening(fake.app()) as url:
        status, checks = await run_doctor(url, monkeypatch, capsys, "--settings", settings)
    assert (status, checks["chat"][0]) == (0, "ok")
    assert fake.asked[1]["messages"] == [{"role": "user", "content": "Say hello."}]


@pytest.mark.parametrize(
    ("says", "verdict", "text"),
    [
        (["…"], "problem", "only 0 characters came within 0 s"),
        (["a", "…"], "warning", "only 1 characters came within 0 s"),
        ([], "warning", "the model returned no text after "),
        (["break"], "problem", "closed the connection in the middle of a request."),
    ],
)
async def test_missing_or_late_response_is_reported(small, settings, monkeypatch, capsys, says, verdict, text):
    """The probe succeeds, but no completion would be shown."""
    monkeypatch.setattr(settings_checks, "DEADLINE_MS", 300)
    async with listening(sharing(small, says=says).app()) as url:
        status, checks = await run_doctor(url, monkeypatch, capsys, "--settings", settings)
    assert (status, checks["remote server"][0]) == (int(verdict == "problem"), "ok")
    assert (checks["completion"][0], text in checks["completion"][1]) == (verdict, True)


async def test_url_of_the_editor_command_line_is_used(small, settings, monkeypatch, capsys):
    async with listening(sharing(small).app()) as url:
        arguments = ("--settings", settings, "--quick", "--engine-url", url)
        status, checks = await run_doctor(LOCAL, monkeypatch, capsys, *arguments)
    assert (status, checks["remote server"][1].startswith(f"{url} serves")) == (0, True)


async def test_quick_requests_no_completion(small, settings, monkeypatch, capsys):
    fake = sharing(small)
    async with listening(fake.app()) as url:
        status, checks = await run_doctor(url, monkeypatch, capsys, "--settings", settings, "--quick")
    assert (status, fake.asked, "completion" in checks) == (0, [], False)


async def test_codellama_ls_engine_needs_no_local_vocabulary(no_models, settings, monkeypatch, capsys, runtime):
    async with serving(runtime, ScriptedModel(), token=TOKEN) as running:
        url = f"http://127.0.0.1:{running.port}"
        status, checks = await run_doctor(url, monkeypatch, capsys, "--settings", settings, token=TOKEN)
    assert status == 0
    assert checks["remote server"][1] == f"{url} serves starter; it is a codellama-ls engine and builds prompts itself"


async def test_rejected_token_is_a_problem(small, settings, monkeypatch, capsys):
    async with listening(FakeOpenAi(token="right").app()) as url:
        status, checks = await run_doctor(url, monkeypatch, capsys, "--settings", settings, token="wrong")
    assert status == 1
    verdict, text = checks["remote server"]
    assert (verdict, text.startswith(f"{url} rejected the token")) == ("problem", True)
