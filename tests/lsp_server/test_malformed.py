"""The server sends exactly one response to each malformed request."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.raw_client import LoopClient, call, document, framed, initialize

from lsp_server.server import create_server

TRACE = "codellama/trace"
PARSE, INVALID, NO_METHOD, BAD_PARAMS, TOO_EARLY = -32700, -32600, -32601, -32602, -32002


@pytest.fixture
async def fresh(runtime, no_models) -> AsyncIterator[LoopClient]:
    """Return a server that has received nothing."""
    client = LoopClient(create_server())
    yield client
    await client.close()


@pytest.fixture
async def client(fresh: LoopClient) -> LoopClient:
    """Return a server after ``initialize``."""
    assert "result" in await fresh.ask(initialize())
    return fresh


async def code(client: LoopClient, message: dict[str, Any]) -> int:
    answer = await client.ask(message)
    assert "result" not in answer
    return answer["error"]["code"]


async def works(client: LoopClient) -> None:
    assert "result" in await client.ask(call(TRACE, id_="afterwards"))


async def test_unknown_enum_values_in_initialize_are_tolerated(fresh):
    """They come from later versions of LSP."""
    kinds = {"valueSet": [1, 999]}
    text_document = {
        "inlineCompletion": {},
        "completion": {"completionItemKind": kinds, "completionItem": {"documentationFormat": ["html"]}},
        "documentSymbol": {"symbolKind": kinds, "tagSupport": {"valueSet": [7]}},
        "codeAction": {"codeActionLiteralSupport": {"codeActionKind": {"valueSet": ["", "quickfix", "future"]}}},
        "publishDiagnostics": {"tagSupport": {"valueSet": [1, 77]}},
    }
    workspace = {"workspaceEdit": {"failureHandling": "later", "resourceOperations": ["create", "link"]}}
    general = {"positionEncodings": ["utf-7", "utf-32"]}
    capabilities = {"textDocument": text_document, "workspace": workspace, "general": general}
    answer = await fresh.ask(initialize(capabilities=capabilities, trace="loud"))
    assert answer["result"]["capabilities"]["positionEncoding"] == "utf-32"


async def test_unknown_enum_value_is_returned_unchanged(fresh, tmp_path):
    literals = {"codeActionLiteralSupport": {"codeActionKind": {"valueSet": []}}}
    await fresh.ask(initialize(capabilities={"textDocument": {"inlineCompletion": {}, "codeAction": literals}}))
    uri = (tmp_path / "a.py").as_uri()
    fresh.send(call("textDocument/didOpen", {"textDocument": document(uri, "def f():\n    return x\n")}))
    where = {"start": {"line": 1, "character": 11}, "end": {"line": 1, "character": 12}}
    problem = {"range": where, "message": "undefined name 'x'", "severity": 99, "tags": [42]}
    context = {"diagnostics": [problem], "triggerKind": 9, "only": ["quickfix", "future"]}
    params = {"textDocument": {"uri": uri}, "range": where, "context": context}
    (action,) = (await fresh.ask(call("textDocument/codeAction", params, 1)))["result"]
    assert action["diagnostics"] == [problem]


@pytest.mark.parametrize("params", [{"capabilities": 5}, [], "x", None, {"processId": "one", "capabilities": {}}])
async def test_invalid_initialize_fails_and_may_be_repeated(fresh, params):
    assert await code(fresh, call("initialize", params, 1)) == BAD_PARAMS
    assert "result" in await fresh.ask(initialize(2))


async def test_invalid_params_error_names_the_problem(client):
    answer = await client.ask(call("textDocument/inlineCompletion", {"position": {"line": -1, "character": 0}}, 5))
    assert answer["error"]["code"] == BAD_PARAMS
    assert "text_document" in answer["error"]["message"]
    assert "Traceback" not in json.dumps(answer)
    await works(client)


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (call("no/such", {}, 1), NO_METHOD),
        (call("$/later", {}, "1"), NO_METHOD),
        (call("textDocument/didOpen", {}, 1), NO_METHOD),
        (call("initialize", {"capabilities": {}}, 1), INVALID),
        ({"jsonrpc": "2.0", "id": 1, "method": 5}, INVALID),
        ({"jsonrpc": "2.0", "id": 1}, INVALID),
        ({"id": 1, "method": TRACE}, INVALID),
        ({"jsonrpc": "1.0", "id": 1, "method": TRACE}, INVALID),
        (call("workspace/executeCommand", {"command": "rm"}, 1), BAD_PARAMS),
        (
            call("textDocument/inlineCompletion", {"textDocument": {"uri": "a:b"}, "context": {"triggerKind": 1}}, 1),
            -32602,
        ),
    ],
)
async def test_request_that_cannot_run_gets_an_error(client, message, wanted):
    assert await code(client, message) == wanted
    await works(client)


async def test_requests_before_initialize_and_after_shutdown_are_refused(fresh):
    fresh.send(call("textDocument/didOpen", {"textDocument": {}}), call("$/cancelRequest", {"id": 1}))
    assert await code(fresh, call(TRACE, id_=1)) == TOO_EARLY
    assert "result" in await fresh.ask(initialize(2))
    assert "result" in await fresh.ask(call("shutdown", id_=3))
    assert await code(fresh, call(TRACE, id_=4)) == INVALID
    assert await code(fresh, initialize(5)) == INVALID


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc": "2.0", "id": 3, "method": "codellama/trace", "params": {"a": ',
        b'{"jsonrpc": "2.0", "id": 3, "method": "codellama/trace", "params": NaN}',
        b'{"jsonrpc": "2.0", "id": 3, "method": "codellama/trace", "params": 1e999}',
        b'{"jsonrpc": "2.0", "id": 3, "method": "codellama/trace", "params": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"jsonrpc": "2.0", "params": ' + b"9" * 5_000 + b', "method": "x", "id": 3}',
    ],
    ids=["truncated", "not a number", "infinite", "deep", "huge integer"],
)
async def test_invalid_json_with_an_id_gets_an_error(client, body):
    client.write(framed(body))
    assert (await client.answer(3))["error"]["code"] == PARSE
    await works(client)


async def test_invalid_utf_8_is_replaced(client):
    client.write(framed(b'{"jsonrpc": "2.0", "id": 3, "method": "codellama/trace", "params": {"a": "\xff\xc3"}}'))
    assert "result" in await client.answer(3)


async def test_messages_of_a_batch_are_answered_one_by_one(client):
    client.send([call(TRACE, id_=1), 5, call("no/such", id_=2), [call(TRACE, id_=3)]])
    assert "result" in await client.answer(1)
    assert (await client.answer(2))["error"]["code"] == NO_METHOD
    await works(client)


async def test_messages_without_a_usable_id_are_ignored(client):
    for odd in (None, 1.5, True, [1], {"a": 1}):
        client.send({"jsonrpc": "2.0", "id": odd, "method": TRACE})
        client.send({"jsonrpc": "2.0", "id": odd, "result": 1}, {"jsonrpc": "2.0", "error": odd})
        client.send(call("$/cancelRequest", {"id": odd}), call("$/progress", {"token": odd, "value": odd}))
        client.send(odd, [], {})
    await works(client)
    assert list(client.answers) == ["first", "afterwards"]


@pytest.mark.parametrize("id_", [0, -1, 2**31, 10**300, "", "é\ud800\0", "x" * 10_000])
async def test_id_is_returned_unchanged(client, id_):
    assert (await client.ask(call(TRACE, id_=id_)))["id"] == id_


async def test_duplicate_id_is_refused_while_the_first_is_in_flight(client):
    client.send(call("codellama/stats", id_=7), call("codellama/stats", id_=7))
    await client.until(lambda: len(client.answers[7]) == 2)
    assert sorted("error" in one for one in client.answers[7]) == [False, True]


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: many\r\n\r\n",
        b"Content-Length: -5\r\n\r\n",
        b"Content-Length: 99999999999999999999999999\r\n\r\n",
        b"Content-Length: 0\r\n\r\n",
        b"Content-Type: x\r\n\r\n",
        b"\0\xff" * 100_000,
        b"\r\n\r\n\n",
        b"Content-Length: 10",
        b"A: b\r\n" * 10_000,
    ],
)
async def test_next_message_is_found_after_a_bad_header(client, header):
    client.write(header + b"{}" + b"\r\n")
    await works(client)


async def test_header_names_are_case_insensitive(client):
    body = json.dumps(call(TRACE, id_=3)).encode()
    client.write(b"content-type: x\r\nCONTENT-LENGTH:%d\r\n\r\n" % len(body) + body)
    assert "result" in await client.answer(3)


WHERE = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 1}}


@pytest.mark.parametrize("uri", ["file:///\0", "file:///%00a", "untitled:\ud800", "file://["])
async def test_document_with_an_impossible_uri_is_not_opened(client, tmp_path, uri):
    """It caused an internal error at each completion in other documents."""
    settings = {"codellama": {"completion": {"contextChars": 500}}}
    client.send(call("workspace/didChangeConfiguration", {"settings": settings}))
    good = (tmp_path / "a.py").as_uri()
    client.send(*(call("textDocument/didOpen", {"textDocument": document(one, "x = ")}) for one in (uri, good)))
    about = {"position": WHERE["start"], "context": {"triggerKind": 1}}
    assert (
        await code(client, call("textDocument/inlineCompletion", {**about, "textDocument": {"uri": uri}}, 1))
        == BAD_PARAMS
    )
    answer = await client.ask(call("textDocument/inlineCompletion", {**about, "textDocument": {"uri": good}}, 2))
    assert answer["result"] == []


@pytest.mark.parametrize(
    "change",
    [{"task": []}, {"task": {}}, {"instruction": 1.5}, {"uri": 5}, {"uri": None}, {"message": []}, {"version": {}}],
    ids=str,
)
async def test_changed_action_data_are_refused(client, tmp_path, change):
    uri = (tmp_path / "a.py").as_uri()
    client.send(call("textDocument/didOpen", {"textDocument": document(uri, "x = 1\n")}))
    data = {"uri": uri, "version": 1, "task": "document", "start": 0, "stop": 3, **change}
    answer = await client.ask(call("codeAction/resolve", {"title": "T", "data": data}, 1))
    assert answer["error"]["code"] in (BAD_PARAMS, -32801)


@pytest.mark.parametrize("severity", [[], {}, "1", 99, None])
async def test_diagnostic_of_an_unknown_severity_is_an_error(client, tmp_path, severity):
    uri = (tmp_path / "a.py").as_uri()
    client.send(call("textDocument/didOpen", {"textDocument": document(uri, "x = 1\n")}))
    problem = {"range": WHERE, "message": "m", "severity": severity}
    params = {"text": "?", "textDocument": {"uri": uri}, "diagnostics": [problem]}
    assert await code(client, call("codellama/chat", params, 1)) == -32803  # there is no engine


async def test_language_that_is_not_a_string_is_refused(client):
    bad = {**document("untitled:a", "x = "), "languageId": 1.5}
    client.send(call("textDocument/didOpen", {"textDocument": bad}))
    params = {"instruction": "Do", "textDocument": {"uri": "untitled:a"}, "range": WHERE}
    assert await code(client, call("codellama/edit", params, 1)) == BAD_PARAMS


async def test_root_folder_as_a_document_gets_a_response(client):
    client.send(call("textDocument/didOpen", {"textDocument": document("file:///", "x = ")}))
    params = {"textDocument": {"uri": "file:///"}, "range": WHERE, "context": {"diagnostics": []}}
    assert "result" in await client.ask(call("textDocument/codeAction", params, 1))


async def test_token_that_is_not_a_scalar_is_refused(client, caplog):
    for token in ([], {}):
        client.send(call("window/workDoneProgress/cancel", {"token": token}), call("$/cancelRequest", {"id": token}))
    client.send(call("textDocument/didChange", {"textDocument": {"uri": "a:b", "version": 1}, "contentChanges": []}))
    client.send(call("notebookDocument/didClose", {"notebookDocument": {"uri": "a:b"}, "cellTextDocuments": []}))
    await works(client)
    assert "Unhandled exception" not in caplog.text
