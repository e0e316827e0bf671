"""llama.cpp's own server, which nobody here has written, as a window's server: found out about, asked, left and lost.

Skipped unless ``CODELLAMA_LS_TEST_LLAMA_SERVER`` names its program and ``CODELLAMA_LS_TEST_GGUF`` a GGUF file of
SmolLM2-135M-Instruct, whose vocabulary is the starter's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from support.fixtures_remote import put_vocabulary
from support.waiting import until

from inference.api.errors import EngineUnavailable
from inference.api.events import Finished, Outcome, Sampling, TextChunk
from inference.api.requests import ChatRequest, CompletionRequest
from inference.api.status import Status
from inference.models import store
from inference.remote.http_client import Address
from inference.remote.prompt_format import ServerDialect
from inference.remote.server_profile import ProbeRequest
from inference.text.prompts import Message
from inference.text.stopping import StopRule
from inference.text.tokenizer_loader import load_tokenizer
from lsp_server.backend.remote_server import RemoteServer

PROGRAM, GGUF = (os.environ.get(f"CODELLAMA_LS_TEST_{name}", "") for name in ("LLAMA_SERVER", "GGUF"))

pytestmark = [
    pytest.mark.starter,
    pytest.mark.slow,
    pytest.mark.llama_server,
    pytest.mark.skipif(
        not (PROGRAM and GGUF), reason="CODELLAMA_LS_TEST_LLAMA_SERVER and CODELLAMA_LS_TEST_GGUF are not set"
    ),
]

CONTEXT = 1024
LONG = CompletionRequest("# Numbers, one a line:\n1\n2\n3\n", sampling=Sampling(max_tokens=500))
"""Takes seconds."""


@pytest.fixture
def bare(bare_starter_folder: Path) -> Path:
    """The vocabulary that both sides share; these weights were not taught to infill."""
    return bare_starter_folder


class LlamaServer:
    """One running server on a port of its own."""

    def __init__(self, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.url, self.options = f"http://127.0.0.1:{self.port}", options
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        command = [PROGRAM, "-m", GGUF, "-t", "1", "-np", "1", "-c", str(CONTEXT), "--port", str(self.port), "--slots"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen([*command, *self.options], stdin=quiet, stdout=quiet, stderr=quiet)
        return self.process

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait(30)


class Window:
    """A link to the server, with all that was said of it."""

    def __init__(self, address: Address, model: str) -> None:
        self.statuses: list[Status] = []
        self.warnings: list[str] = []
        self.link = RemoteServer(lambda: address, ProbeRequest(model), self.statuses.append, self.warnings.append)

    async def phase(self, name: str) -> Status:
        await until(lambda: self.statuses and self.statuses[-1].phase == name, 60)
        return self.statuses[-1]

    async def ask(self, request: CompletionRequest) -> tuple[str, Outcome]:
        return await whole(self.link.complete(request))


async def whole(events) -> tuple[str, Outcome]:
    text, outcomes = "", []
    async for event in events:
        if isinstance(event, Finished):
            outcomes.append(event.outcome)
        else:
            text += event.text
    return text, outcomes[0]


@asynccontextmanager
async def window(
    *options: str, model: str = "starter-bare", token: str = ""
) -> AsyncIterator[tuple[Window, LlamaServer]]:
    server = LlamaServer(*options)
    opened = Window(Address(server.url, token), model)
    opened.link.start()
    try:
        yield opened, server
    finally:
        await opened.link.stop()
        server.end(signal.SIGKILL)


async def test_it_is_found_to_take_ids_and_answers_them_as_it_answers_its_own_route(bare):
    """The window is opened while the server still starts."""
    tokenizer = load_tokenizer(bare)
    request = CompletionRequest(
        "def add(a, b):\n    return ", "\n", sampling=Sampling(max_tokens=16), stop_rule=StopRule("line")
    )
    async with window() as (one, server):
        await one.phase("ready")
        client = one.link._client
        assert client is not None
        language = client.served.language
        assert (language.dialect, language.context) == (ServerDialect("ids", stop_ids=True, usage=True), CONTEXT)
        text, outcome = await one.ask(request)
        ids = tokenizer.encode("def add(a, b):\n    return")
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            body = {"prompt": ids, "n_predict": 16, "temperature": 0, "samplers": ["temperature"], "stop": ["\n"]}
            native = (await http.post("/completion", json=body)).json()
    assert native["tokens_evaluated"] == outcome.prompt_tokens == len(ids)
    assert f" {text}" == native["content"]
    assert text.startswith("a + b")
    assert one.warnings == []


async def test_leaving_an_answer_early_frees_it(bare):
    async with window() as (one, server):
        await one.phase("ready")
        stream = one.link.complete(LONG)
        assert isinstance(await anext(stream), TextChunk)
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            assert (await http.get("/slots")).json()[0]["is_processing"]
            await stream.aclose()
            async with asyncio.timeout(2):
                while (await http.get("/slots")).json()[0]["is_processing"]:
                    await asyncio.sleep(0.02)


async def test_it_may_die_and_come_back(bare):
    """Whoever waits is told, and the window finds it again by itself."""
    async with window() as (one, server):
        await one.phase("ready")
        stream = one.link.complete(LONG)
        await anext(stream)
        server.end(signal.SIGKILL)
        with pytest.raises(EngineUnavailable, match="has gone in the middle of a request"):
            await whole(stream)
        await one.phase("failed")
        server.start()
        await one.phase("ready")
        text, _ = await one.ask(CompletionRequest("def add(a, b):\n    return ", stop_rule=StopRule("line")))
    assert text.startswith("a + b")


async def test_it_chats(bare):
    async with window() as (one, _):
        await one.phase("ready")
        assert one.link._client is not None
        question = (Message("user", "Say hello."),)
        text, outcome = await whole(one.link._client.chat(ChatRequest(question, sampling=Sampling(max_tokens=12))))
    assert text.strip()
    assert 0 < outcome.completion_tokens <= 12
    assert outcome.prompt_tokens > 5


async def test_another_vocabulary_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path))
    put_vocabulary("codellama-34b")
    async with window(model="codellama-34b") as (one, _):
        assert "whose vocabulary is not that of engine.model" in (await one.phase("failed")).message


async def test_its_key_is_wanted(bare):
    async with window("--api-key", "right", token="wrong") as (one, server):
        assert (await one.phase("failed")).message.startswith(f"{server.url} does not accept the token")
    async with window("--api-key", "right", token="right") as (one, _):
        await one.phase("ready")
