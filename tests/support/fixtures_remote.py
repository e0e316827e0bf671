"""Remote servers for tests, a small vocabulary that they share, and clients connected to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fakes.llama_server import listening
from fakes.openai_server import FakeOpenAi
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import RunningService, serving
from support.vocabulary import TRAINER, write_proto

from inference.api.events import Finished, Outcome
from inference.api.requests import ChatRequest, CompletionRequest
from inference.models import store
from inference.remote.http_client import Address, open_http_client
from inference.remote.remote_client import RemoteClient
from inference.remote.server_profile import ProbeRequest, probe
from inference.text.llama_tokenizer import CodeLlamaTokenizer

SENTINELS = ("▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>")


def small_proto() -> bytes:
    """Bytes, a blank, lower-case letters, and the sentinels: ids 286 to 289."""
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    pieces += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    pieces += [(letter, float(-n), 1) for n, letter in enumerate("▁abcdefghijklmnopqrstuvwxyz")]
    trainer = [(number, len(pieces) if number == 4 else value) for number, value in TRAINER]
    return write_proto(pieces + [(piece, -1e18, 1) for piece in SENTINELS], trainer)


@pytest.fixture
def no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install no vocabulary."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))


@pytest.fixture
def small(no_models: None) -> CodeLlamaTokenizer:
    """Install the small vocabulary alone, as that of ``codellama-7b``, which can infill."""
    return CodeLlamaTokenizer(put_vocabulary("codellama-7b"))


def put_vocabulary(model_id: str) -> Path:
    folder = store.vocabulary_folder(model_id)
    folder.mkdir(parents=True)
    (folder / "tokenizer.model").write_bytes(small_proto())
    return folder


def sharing(tokenizer: CodeLlamaTokenizer, **options) -> FakeOpenAi:
    """Return a server with this vocabulary, which adds a BOS token to texts."""
    return FakeOpenAi(lambda text: len(tokenizer.encode(text)) + 1, **options)


@asynccontextmanager
async def connected(fake: FakeOpenAi, model: str = "codellama-7b", **clock) -> AsyncIterator[RemoteClient]:
    """Yield a client that has probed the server. Messages call the server "there"."""
    async with listening(fake.app()) as url, open_http_client(Address(url, fake.token)) as http:
        yield RemoteClient(http, "there", await probe(http, "there", ProbeRequest(model)), **clock)


TOKEN = "a-token-of-this-test"


@asynccontextmanager
async def own_engine(
    runtime: Path, answerer: ScriptedModel, token: str = TOKEN, **options
) -> AsyncIterator[tuple[RunningService, httpx.AsyncClient]]:
    """Yield our engine on TCP and a client with this token."""
    async with (
        serving(runtime, answerer, token=TOKEN, **options) as running,
        open_http_client(address_of(running, token)) as http,
    ):
        yield running, http


def address_of(running: RunningService, token: str = TOKEN) -> Address:
    return Address(f"http://127.0.0.1:{running.port}", token)


async def told(client: RemoteClient, request: CompletionRequest | ChatRequest) -> tuple[str, Outcome]:
    """Return the text of a response and its outcome."""
    text, outcomes = "", []
    stream = client.chat(request) if isinstance(request, ChatRequest) else client.complete(request)
    async with aclosing(stream) as events:
        async for event in events:
            if isinstance(event, Finished):
                outcomes.append(event.outcome)
            else:
                text += event.text
    (outcome,) = outcomes
    return text, outcome
