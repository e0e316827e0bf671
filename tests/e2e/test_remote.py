"""Remote servers end to end: the language server over stdio, with real HTTP behind it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil
import pytest
from fakes.llama_server import listening
from fakes.openai_server import FakeOpenAi, refusal
from fakes.scripted_model import ScriptedModel
from fakes.tiny_llama import save_checkpoint
from lsprotocol import types
from support.editor_session import EditorSession, editor_session
from support.fixtures_engine import serving
from support.fixtures_remote import TOKEN, sharing
from support.waiting import until

from inference.models import store
from inference.text.llama_tokenizer import CodeLlamaTokenizer
from lsp_server.backend.allowed_servers import TOKEN_VARIABLE, URL_VARIABLE
from lsp_server.doctor import last_requests

MODEL = {"engine": {"model": "codellama-7b"}}


def named(url: str, token: str = "") -> dict[str, str]:
    return {URL_VARIABLE: url, TOKEN_VARIABLE: token}


def said(editor: EditorSession) -> list[str]:
    return [message.message for message in editor.client.messages]


async def test_remote_completions_are_named_in_the_trace(runtime, small, capsys):
    fake = sharing(small, says=["a +", " b\n", "c"], token="secret")
    async with listening(fake.app()) as url, editor_session(settings=MODEL, env=named(url, "secret")) as editor:
        editor.open("def add(a, b):\n    return \n")
        assert await editor.inline(1, 11) == [("    return a + b", (1, 0, 1, 11))]
        (record,) = await editor.trace()
        status = editor.statuses[-1]
    assert (record["server"], record["result"], record["outcome"]["cause"]) == (url, "shown", "rule")
    assert status.model == "codellama/CodeLlama-7b-hf"
    assert last_requests.print_last_requests(10, as_json=False) == 0
    assert f"answered by {url}" in capsys.readouterr().out
    assert "secret" not in (runtime / "requests.jsonl").read_text()
    assert said(editor) == []


async def test_remote_server_starts_no_engine(runtime, small):
    async with listening(sharing(small).app()) as url, editor_session(settings=MODEL, env=named(url)):
        pass
    assert not (runtime / "engine.sock").exists()
    assert not (runtime / "engine.log").exists()


async def test_our_engine_over_tcp_completes(runtime, no_models):
    """`engine --tcp` with its token."""
    async with serving(runtime, ScriptedModel(["1"]), token=TOKEN) as running:
        url = f"http://127.0.0.1:{running.port}"
        async with editor_session(env=named(url, TOKEN)) as editor:
            editor.open("x = ")
            assert await editor.inline(0, 4) == [("x = 1", (0, 0, 0, 4))]
            assert (await editor.trace())[-1]["server"] == url
    assert running.answerer.asked[0][0] == "x = "


async def test_user_settings_file_configures_the_server(runtime, small, tmp_path):
    fake = sharing(small, says=["1"], token="secret")
    async with listening(fake.app()) as url:
        (tmp_path / "codellama-ls").mkdir()
        file = tmp_path / "codellama-ls" / "remote.toml"
        file.write_text(f'url = "{url}"\ntoken = "secret"\n')
        file.chmod(0o600)
        async with editor_session(settings=MODEL, env={URL_VARIABLE: "", "XDG_CONFIG_HOME": str(tmp_path)}) as editor:
            editor.open("x = ")
            assert await editor.inline(0, 4) == [("x = 1", (0, 0, 0, 4))]


async def test_workspace_settings_cannot_redirect_code(runtime, small):
    """At startup and later, the user's choice stays and a message says so."""
    theirs, ours = FakeOpenAi(), sharing(small, says=["1"])
    async with listening(theirs.app()) as evil, listening(ours.app()) as url:
        settings = {"engine": {"model": "codellama-7b", "url": evil}}
        async with editor_session(settings=settings, env=named(url, "secret")) as editor:
            change_configuration(editor, settings)
            editor.open("x = ")
            assert await editor.inline(0, 4) == [("x = 1", (0, 0, 0, 4))]
            await until(lambda: said(editor))
    assert theirs.paths == []
    assert all(
        text.startswith("codellama-ls: Setting 'engine.url' is not taken from the editor") for text in said(editor)
    )


async def test_server_setting_is_ignored_without_an_allowed_server(runtime, no_models):
    theirs = FakeOpenAi()
    async with (
        listening(theirs.app()) as evil,
        serving(runtime, ScriptedModel(["1"])),
        editor_session(settings={"engine": {"url": evil}}) as editor,
    ):
        editor.open("x = ")
        assert await editor.inline(0, 4) == [("x = 1", (0, 0, 0, 4))]
        assert (await editor.trace())[-1]["server"] == ""
        await until(lambda: said(editor))
    assert theirs.paths == []


async def test_setting_may_repeat_the_allowed_server(runtime, small):
    async with (
        listening(sharing(small, says=["1"]).app()) as url,
        editor_session(settings={"engine": {"model": "codellama-7b", "url": f"{url}/v1"}}, env=named(url)) as editor,
    ):
        editor.open("x = ")
        assert await editor.inline(0, 4) == [("x = 1", (0, 0, 0, 4))]
    assert said(editor) == []


async def test_completion_resumes_when_the_server_is_back(runtime, small):
    fake = sharing(small, says=["1"], token="right")
    async with listening(fake.app()) as url:
        fake.failures = [refusal(503, "Loading model", {"Retry-After": "1"})]
        async with editor_session(settings=MODEL, env=named(url, "right"), wait=False) as editor:
            editor.open("x = ")
            assert await asyncio.wait_for(editor.request(0, 4), 5) == []
            assert (await editor.trace())[-1]["result"] == "not ready"
            await asyncio.wait_for(editor.ready.wait(), 20)
            assert await editor.inline(0, 4) == [("x = 1", (0, 0, 0, 4))]


async def test_remote_error_is_reported_in_one_sentence(runtime, no_models):
    async with (
        listening(FakeOpenAi(token="right").app()) as url,
        editor_session(env=named(url, "wrong"), wait=False) as editor,
    ):
        await asyncio.wait_for(editor.failed.wait(), 20)
        await until(lambda: said(editor))
    assert said(editor) == [
        f"codellama-ls: {url} rejected the token, or requires one. Put the token you were given into remote.toml or "
        "CODELLAMA_LS_ENGINE_TOKEN."
    ]


async def test_local_vocabulary_fits_the_memory_limit(runtime, codellama_vocabulary, tmp_path, monkeypatch):
    """The language server builds the prompts itself and must stay under 90 MB with Code Llama's vocabulary."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path))
    folder = tmp_path / ".tokenizers" / "codellama-7b"
    folder.mkdir(parents=True)
    (folder / "tokenizer.model").symlink_to(codellama_vocabulary / "tokenizer.model")
    fake = sharing(CodeLlamaTokenizer(folder), says=["1"])
    async with listening(fake.app()) as url, editor_session(settings=MODEL, env=named(url)) as editor:
        editor.open("value = compute(1, 2, 3)\n" * 1000 + "x = ")
        assert await editor.inline(1000, 4) == [("x = 1", (1000, 0, 1000, 4))]
        resident = psutil.Process(editor.pid).memory_info().rss
        assert not has_torch(editor.pid)
    assert resident < 90_000_000


def has_torch(pid: int) -> bool:
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


def change_configuration(editor: EditorSession, settings) -> None:
    editor.client.workspace_did_change_configuration(types.DidChangeConfigurationParams({"codellama": settings}))


@pytest.mark.slow
async def test_real_tcp_engine_serves_an_editor_session(runtime, tmp_path, monkeypatch):
    """A real `engine --tcp` process with torch and a tiny model."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    with store.locked("tiny", on_wait=lambda: None), store.installing("tiny", "a test", 0) as staging:
        save_checkpoint(staging.checkpoint, sentinels=True, max_position_embeddings=512)
        staging.facts.update(source="a test", licence="none", licence_url="", trained={"infill": True, "chat": None})
    async with tcp_engine(runtime, "tiny") as (url, token):
        async with editor_session(env=named(url, token), settings={"completion": {"maxTokens": 8}}) as editor:
            editor.open("def add(a, b):\n    return \n")
            await editor.inline(1, 11)  # empty if the output of the random weights is no code
            (record,) = await editor.trace()
        assert (record["server"], record["generated"] > 0) == (url, True)
        assert record["outcome"]["prompt_tokens"] > 20
        async with editor_session(env=named(url, "wrong-token-of-this-test"), wait=False) as editor:
            await asyncio.wait_for(editor.failed.wait(), 20)


@contextmanager
def started(runtime: Path, model: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The engine's process and its log."""
    command = [sys.executable, "-m", "inference.server.process", "--model", model, "--tcp", "0", "--format", "fp32"]
    log = runtime / "tcp.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stderr=stderr)
    try:
        yield process, log
    finally:
        process.terminate()
        process.wait(30)


@asynccontextmanager
async def tcp_engine(runtime: Path, model: str) -> AsyncIterator[tuple[str, str]]:
    """Start an engine as a user does; yield its address and token."""
    with started(runtime, model) as (process, log):
        await until(lambda: "listening on http://" in log.read_text() or process.poll() is not None, 60)
        url = log.read_text().split("listening on ")[1].split()[0]
        yield url, (runtime / "engine.token").read_text().strip()
