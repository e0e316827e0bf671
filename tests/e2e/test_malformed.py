"""A server process survives malformed messages, with bounded memory and a bounded log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import serving
from support.raw_client import ProcessClient, call, document, encoded, framed, initialize, raw_client

TRACE = "codellama/trace"


@pytest.fixture
async def client(runtime, no_models) -> AsyncIterator[ProcessClient]:
    async with raw_client() as client:
        assert "result" in await client.ask(initialize())
        client.send(call("initialized", {}))
        yield client


async def works(client: ProcessClient) -> None:
    assert "result" in await client.ask(call(TRACE, id_="afterwards"))


@pytest.mark.parametrize("params", [None, {}, [], 7])
async def test_methods_without_params_accept_any_params(client, params):
    assert "result" in await client.ask(call(TRACE, params, 1))
    assert await client.ask(call("shutdown", params, 2)) == {"jsonrpc": "2.0", "id": 2, "result": None}
    client.send({"jsonrpc": "2.0", "method": "exit"})
    assert await client.ended() == 0


async def test_huge_message_is_discarded_without_buffering_it(client):
    """Regression: the length alone ended the server."""
    await works(client)
    before = client.resident
    client.write(b"Content-Length: 50000000000\r\n\r\n")
    for _ in range(64):
        client.write(b"x" * 2**20)
        await client.stdin.drain()
    assert client.resident - before < 16 * 2**20
    assert client.process.returncode is None


async def test_document_of_many_megabytes_is_accepted(client):
    text = "x = 1\n" * 5_000_000
    client.send(call("textDocument/didOpen", {"textDocument": document("untitled:a", text)}))
    await works(client)


@pytest.mark.parametrize("cut", [b"", b"Content-Le", b"Content-Length: 100\r\n\r\n{", encoded(call(TRACE, id_=9))[:-1]])
async def test_server_exits_quietly_at_the_end_of_the_stream(client, cut):
    client.write(cut)
    assert await client.ended() == 0
    assert "Traceback" not in client.log


async def test_log_does_not_grow_with_malformed_messages(client):
    bad = [
        call("textDocument/didOpen", {"textDocument": "?"}),
        call(
            "textDocument/didChange", {"textDocument": {"uri": "a:b", "version": 1}, "contentChanges": [{"text": "a"}]}
        ),
        call("textDocument/inlineCompletion", {}, 1),
        call("workspace/executeCommand", {"command": "rm"}, 2),
        call("no/such"),
        {"jsonrpc": "2.0", "id": 9, "result": 3},
    ]
    for _ in range(200):
        client.send(*bad)
        client.write(framed(b"{"))
        client.write(b"Content-Length: x\r\n\r\n")
    await works(client)
    assert len(client.stderr) < 30_000


async def test_refused_progress_token_gets_no_progress(runtime):
    """Regression: the refusal was an unhandled error."""
    asked = asyncio.Event()

    def refuse(request):
        asked.set()
        return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "no"}}

    async with serving(runtime, ScriptedModel(), phase="loading"), raw_client(refuse) as client:
        await client.ask(initialize(capabilities={"window": {"workDoneProgress": True}}))
        client.send(call("initialized", {}))
        await asyncio.wait_for(asked.wait(), 30)
        await works(client)
        assert await client.ended() == 0
    assert "never retrieved" not in client.log
