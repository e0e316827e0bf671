"""llama.cpp's server as a remote backend: probe it, complete, cancel, lose and find it again.

Skipped unless ``CODELLAMA_LS_TEST_LLAMA_SERVER`` is the path of its program and ``CODELLAMA_LS_TEST_GGUF`` that of a
GGUF file of SmolLM2-135M-Instruct, whose vocabulary is the starter's.
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

from inference.api.engine_errors import EngineUnavailable
from inference.api.events import Finished, Outcome, Sampling, TextChunk
from inference.api.requests import ChatRequest, CompletionRequest
from inference.api.status import Status
from inference.models import store
from inference.remote.http_client import Address
from inference.remote.prompt_format import ServerDialect
from inference.remote.server_profile import ProbeRequest
from inference.text.llama_tokenizer import load_tokenizer
from inference.text.prompts import Message
from inference.text.stopping import StopRule
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
    """The model that both sides share; it was not trained to infill."""
    return bare_starter_folder


class LlamaServer:
    """A running llama-server on a free port."""

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


class RemoteSession:
    """A backend for the server, with all reported statuses and warnings."""

    def __init__(self, address: Address, model: str) -> None:
        self.statuses: list[Status] = []
        self.warnings: list[str] = []
        self.backend = RemoteServer(lambda: address, ProbeRequest(model), self.statuses.append, self.warnings.append)

    async def phase(self, name: str) -> Status:
        await until(lambda: self.statuses and self.statuses[-1].phase == name, 60)
        return self.statuses[-1]

    async def ask(self, request: CompletionRequest) -> tuple[str, Outcome]:
        return await read_all(self.backend.complete(request))


async def read_all(events) -> tuple[str, Outcome]:
    text, outcomes = "", []
    async for event in events:
        if isinstance(event, Finished):
            outcomes.append(event.outcome)
        else:
            text += event.text
    return text, outcomes[0]


@asynccontextmanager
async def session(
    *options: str, model: str = "starter-bare", token: str = ""
) -> AsyncIterator[tuple[RemoteSession, LlamaServer]]:
    server = LlamaServer(*options)
    opened = RemoteSession(Address(server.url, token), model)
    opened.backend.start()
    try:
        yield opened, server
    finally:
        await opened.backend.stop()
        server.end(signal.SIGKILL)


async def test_completion_equals_that_of_the_native_route(bare):
    """The session starts while the server still loads."""
    tokenizer = load_tokenizer(bare)
    request = CompletionRequest(
        "def add(a, b):\n    return ", "\n", sampling=Sampling(max_tokens=16), stop_rule=StopRule("line")
    )
    async with session() as (here, server):
        await here.phase("ready")
        client = here.backend._client
        assert client is not None
        language = client.served.language
        assert (language.dialect, language.context) == (ServerDialect("ids", stop_ids=True, usage=True), CONTEXT)
        text, outcome = await here.ask(request)
        ids = tokenizer.encode("def add(a, b):\n    return")
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            body = {"prompt": ids, "n_predict": 16, "temperature": 0, "samplers": ["temperature"], "stop": ["\n"]}
            native = (await http.post("/completion", json=body)).json()
    assert native["tokens_evaluated"] == outcome.prompt_tokens == len(ids)
    assert f" {text}" == native["content"]
    assert text.startswith("a + b")
    assert here.warnings == []


async def test_closing_early_frees_the_slot(bare):
    async with session() as (here, server):
        await here.phase("ready")
        stream = here.backend.complete(LONG)
        assert isinstance(await anext(stream), TextChunk)
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            assert (await http.get("/slots")).json()[0]["is_processing"]
            await stream.aclose()
            async with asyncio.timeout(2):
                while (await http.get("/slots")).json()[0]["is_processing"]:
                    await asyncio.sleep(0.02)


async def test_server_may_die_and_come_back(bare):
    """A running request fails, and the session reconnects by itself."""
    async with session() as (here, server):
        await here.phase("ready")
        stream = here.backend.complete(LONG)
        await anext(stream)
        server.end(signal.SIGKILL)
        with pytest.raises(EngineUnavailable, match="closed the connection in the middle of a request"):
            await read_all(stream)
        await here.phase("failed")
        server.start()
        await here.phase("ready")
        text, _ = await here.ask(CompletionRequest("def add(a, b):\n    return ", stop_rule=StopRule("line")))
    assert text.startswith("a + b")


async def test_chat(bare):
    async with session() as (here, _):
        await here.phase("ready")
        assert here.backend._client is not None
        question = (Message("user", "Say hello."),)
        text, outcome = await read_all(
            here.backend._client.chat(ChatRequest(question, sampling=Sampling(max_tokens=12)))
        )
    assert text.strip()
    assert 0 < outcome.completion_tokens <= 12
    assert outcome.prompt_tokens > 5


async def test_other_vocabulary_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path))
    put_vocabulary("codellama-34b")
    async with session(model="codellama-34b") as (here, _):
        assert "whose vocabulary is not that of engine.model" in (await here.phase("failed")).message


async def test_api_key_is_required(bare):
    async with session("--api-key", "right", token="wrong") as (here, server):
        assert (await here.phase("failed")).message.startswith(f"{server.url} rejected the token")
    async with session("--api-key", "right", token="right") as (here, _):
        await here.phase("ready")
