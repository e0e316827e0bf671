"""Broken and hostile clients get an error, and valid requests still work."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import RunningService, serving
from support.waiting import until

from inference.server import app, transport

POST = b"POST /v1/completions HTTP/1.1\r\nhost: engine\r\ncontent-type: application/json\r\n"


def http(running: RunningService) -> httpx.AsyncClient:
    unix = httpx.AsyncHTTPTransport(uds=str(running.socket))
    return httpx.AsyncClient(transport=unix, base_url="http://engine", timeout=30)


async def check_valid_request(running: RunningService) -> None:
    async with http(running) as client:
        response = await client.post("/v1/completions", json={"prompt": "p"})
    assert response.json()["choices"][0]["text"] == "ab"


async def exchange(running: RunningService, *parts: bytes, close: bool = False) -> bytes:
    """Send ``parts`` and read until the engine closes the connection. ``close`` closes the sending side first."""
    reader, writer = await asyncio.open_unix_connection(str(running.socket))
    for part in parts:
        writer.write(part)
    if close:
        writer.write_eof()
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00" * 100,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nhost: e\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nhost: e\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nhost: e\r\nx: " + b"a" * 200_000 + b"\r\n\r\n",
        "GET /é HTTP/1.1\r\nhost: e\r\n\r\n".encode(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_malformed_http_is_refused(runtime, sent):
    async with serving(runtime, ScriptedModel()) as running:
        response = await exchange(running, sent, close=True)
        await check_valid_request(running)
    assert response == b"" or response.split(b" ")[1] in (b"400", b"404"), "no route is served at /"


@pytest.mark.parametrize(
    "content",
    [
        b'{"prompt": "\xff\xfe"}',
        b"\xc3",
        b'{"prompt": "a"',
        b"",
        b"null",
        b'{"prompt": "' + b"\\u0000" * 3 + b'", "stop": 5}',
        b'{"prompt": NaN}',
        b'{"prompt": "a", "n": 1e400}',
        b'{"prompt": "a", "n": ' + b"9" * 5000 + b"}",
        b'{"prompt": "\xed\xa0\x80"}',
        '{"prompt": "\\ud800"}'.encode("utf-16"),
        b"[" * 100_000,
        b'{"prompt": "a", "model": "' + b"m" * 20_000 + b'"}',
    ],
)
async def test_invalid_body_is_refused_in_openais_format(runtime, content):
    async with serving(runtime, ScriptedModel()) as running, http(running) as client:
        response = await client.post("/v1/completions", content=content)
        await check_valid_request(running)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


async def test_lone_surrogate_is_replaced(runtime):
    """JSON can escape lone surrogates, which UTF-8 cannot encode. The response must be valid too."""
    model = ScriptedModel()
    async with serving(runtime, model) as running, http(running) as client:
        response = await client.post("/v1/completions", content=b'{"prompt": "\\ud800", "model": ""}')
        named = await client.post("/v1/completions", content=b'{"prompt": "a", "model": "\\ud800"}')
    assert response.status_code == 200
    assert model.asked[0][0] == "\ufffd"
    assert named.status_code == 404
    assert "'\ufffd'" in named.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/score", "/retire"])
@pytest.mark.parametrize("declared", [True, False])
async def test_body_of_ten_megabytes_is_refused(runtime, path, declared):
    """This holds without a Content-Length header too."""
    body = b'{"prompt": "' + b"a" * 10_000_000 + b'"}'

    async def chunks():
        for start in range(0, len(body), 1 << 16):
            yield body[start : start + (1 << 16)]

    async with serving(runtime, ScriptedModel()) as running, http(running) as client:
        response = await client.post(path, content=body if declared else chunks())
        await check_valid_request(running)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


async def test_incomplete_headers_time_out(runtime, monkeypatch):
    monkeypatch.setattr(transport, "HEADER_SECONDS", 0.01)
    async with serving(runtime, ScriptedModel()) as running:
        responses = [await exchange(running, part) for part in (b"", b"GET / HT", POST)]
    assert [response.split(b"\r\n")[0] for response in responses] == [b"HTTP/1.1 408 Request Timeout"] * 3


async def test_incomplete_body_times_out(runtime, monkeypatch):
    monkeypatch.setattr(transport, "BODY_SECONDS", 0.01)
    async with serving(runtime, ScriptedModel()) as running:
        response = await exchange(running, POST, b"content-length: 100\r\n\r\n", b'{"prompt"')
        monkeypatch.setattr(transport, "BODY_SECONDS", 30)
        await check_valid_request(running)
    assert response.startswith(b"HTTP/1.1 408 ")
    assert json.loads(response.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"


async def test_client_that_closes_its_sending_side_is_cancelled(runtime):
    """A crashed client looks the same."""
    model = ScriptedModel(["1", "2", "3"], hold=True)
    async with serving(runtime, model) as running:
        body = b'{"prompt": "p", "stream": true}'
        reader, writer = await asyncio.open_unix_connection(str(running.socket))
        writer.write(POST + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert await asyncio.to_thread(model.began.wait, 10)
        writer.write_eof()
        async with asyncio.timeout(20):
            await reader.read()
        writer.close()
        await until(lambda: not running.service.requests.held)
        model.go.set()
        assert await asyncio.to_thread(model.closed.wait, 10)
        model.hold, model.pieces = False, ["a", "b"]
        await check_valid_request(running)
    assert "p: 3" not in model.log


async def test_client_that_does_not_read_blocks_no_other_client(runtime):
    model = ScriptedModel(["x" * 100_000] * 30)
    async with serving(runtime, model) as running:
        _, writer = await asyncio.open_unix_connection(str(running.socket), limit=1)
        body = b'{"prompt": "unread", "stream": true}'
        writer.write(POST + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert await asyncio.to_thread(model.closed.wait, 10)
        model.pieces = ["a", "b"]
        await check_valid_request(running)
        assert running.service.requests.held == 1, "its response has not been read yet"
        writer.close()
        await until(lambda: not running.service.requests.held)


async def test_two_hundred_requests_at_once_get_200_or_429(runtime):
    async with serving(runtime, ScriptedModel()) as running:
        idle = [await asyncio.open_unix_connection(str(running.socket)) for _ in range(100)]

        async def post(n: int) -> httpx.Response:
            async with http(running) as client:
                return await client.post("/v1/completions", json={"prompt": "p", "user": str(n)})

        responses = await asyncio.gather(*(post(n) for n in range(200)))
        await check_valid_request(running)
        for _, writer in idle:
            writer.close()
    statuses = {response.status_code for response in responses}
    assert statuses <= {200, 429}
    assert 200 in statuses
    assert all(response.headers["retry-after"] == "2" for response in responses if response.status_code == 429)


async def test_connections_beyond_the_limit_are_closed(runtime, monkeypatch):
    monkeypatch.setattr(transport, "MAX_UNIX_CONNECTIONS", 3)
    async with serving(runtime, ScriptedModel()) as running:
        held = [await asyncio.open_unix_connection(str(running.socket)) for _ in range(3)]
        await until(lambda: len(running.server.server_state.connections) == 3)
        assert await exchange(running, b"GET /health HTTP/1.1\r\nhost: e\r\n\r\n") == b""
        for _, writer in held:
            writer.close()
        await until(lambda: not running.server.server_state.connections)
        await check_valid_request(running)


@pytest.mark.parametrize(("names", "code"), [(["me"] * 4, "too_many_of_yours"), (["a", "b", "c", "d"], "queue_full")])
async def test_full_queue_responds_429_with_retry_after(runtime, monkeypatch, names, code):
    """The limit for one session is lower, so that it cannot fill the queue alone."""
    monkeypatch.setattr(app, "MAX_QUEUED_PER_SESSION", 2 if code == "too_many_of_yours" else 10)
    monkeypatch.setattr(app, "MAX_QUEUED", 3)
    model = ScriptedModel(["1", "2"], hold=True)
    fits = 2 if code == "too_many_of_yours" else 3
    async with serving(runtime, model) as running, http(running) as client:
        pending = [
            asyncio.ensure_future(client.post("/v1/completions", json={"prompt": "p", "user": name}))
            for name in names[:fits]
        ]
        await until(lambda: running.service.scheduler.waiting == fits)
        refused = await client.post("/v1/completions", json={"prompt": "p", "user": names[fits]})
        model.go.set()
        responses = await asyncio.gather(*pending)
        stats = (await client.get("/stats")).json()
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert refused.json()["error"]["code"] == code
    assert [response.status_code for response in responses] == [200] * fits
    assert (stats["refused"], stats["answers"]["completion"]["finished"]) == (1, fits)


async def test_request_for_too_many_choices_is_refused_as_a_whole(runtime, monkeypatch):
    monkeypatch.setattr(app, "MAX_QUEUED_PER_SESSION", 3)
    async with serving(runtime, ScriptedModel()) as running, http(running) as client:
        response = await client.post("/v1/completions", json={"prompt": "p", "n": 4})
        await check_valid_request(running)
    assert response.status_code == 429


async def test_request_without_a_deadline_gets_a_default(runtime, monkeypatch):
    """No request stays in the queue forever."""
    monkeypatch.setattr(app, "LONGEST_SECONDS", 0.0)
    async with serving(runtime, ScriptedModel()) as running, http(running) as client:
        response = await client.post("/v1/completions", json={"prompt": "p", "stream": True})
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json()["error"]["message"].startswith("The engine was too busy to begin with this request in time")


async def test_head_request_takes_no_lease(runtime):
    """The client would not read the stream."""
    async with serving(runtime, ScriptedModel()) as running:
        response = await exchange(running, b"HEAD /lease HTTP/1.1\r\nhost: e\r\nconnection: close\r\n\r\n")
        assert running.service.leases.held == 0
    assert response.startswith(b"HTTP/1.1 200 ")


async def test_error_quotes_little_of_a_large_request(runtime):
    async with serving(runtime, ScriptedModel()) as running, http(running) as client:
        responses = [await client.post(path, json={"x" * 1_000_000: 1}) for path in ("/score", "/retire")]
        await check_valid_request(running)
    assert [response.status_code for response in responses] == [422, 400]
    assert max(len(response.content) for response in responses) < 2000


async def test_disconnect_is_not_logged_as_an_error(runtime, caplog):
    """This covers a disconnect while the body arrives and one while the response is generated."""
    model = ScriptedModel(["1", "2"], hold=True)
    async with serving(runtime, model) as running:
        await exchange(running, POST, b"content-length: 100\r\n\r\n", b'{"prompt"', close=True)
        await exchange(running, POST, b'content-length: 15\r\n\r\n{"prompt": "p"}', close=True)
        await until(lambda: not running.service.requests.held and not running.server.server_state.tasks)
        logged = [record.getMessage() for record in caplog.records if record.exc_info]
        model.go.set()
    assert logged == []


async def test_broken_chunked_body_gets_one_response(runtime, caplog):
    """The app may be responding to the same request already, here with 404."""
    sent = b"POST /nothing HTTP/1.1\r\nhost: e\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
    async with serving(runtime, ScriptedModel()) as running:
        response = await exchange(running, sent)
        await check_valid_request(running)
    assert response.startswith(b"HTTP/1.1 400 ")
    assert response.count(b"HTTP/1.1") == 1
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


async def test_unexpected_exception_is_logged_once_and_answered_500(runtime, caplog, monkeypatch):
    async with serving(runtime, ScriptedModel()) as running:
        monkeypatch.setattr(app, "model_list", lambda *_: 1 / 0)
        async with http(running) as client:
            response = await client.get("/v1/models")
        await check_valid_request(running)
        logged = [record for record in caplog.records if record.exc_info]
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert len(logged) == 1


@pytest.mark.parametrize("host", [b"", b"[", b"[::1", b"a b", b"\xff", b":", b"a:99999999"])
@pytest.mark.parametrize("path", [b"/nothing", b"//[", b"/health/", b"/%00", b"/v1/models/%ff%00", b"*"])
async def test_odd_host_and_path_are_not_found(runtime, host, path):
    async with serving(runtime, ScriptedModel()) as running:
        sent = b"GET %s HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n" % (path, host)
        response = await exchange(running, sent)
    assert response.split(b" ")[1] in (b"404", b"400")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/completions", 405), ("POST", "/v2", 404), ("DELETE", "/health", 405)]
)
async def test_unknown_path_or_method_is_refused_in_openais_format(runtime, method, path, status):
    async with serving(runtime, ScriptedModel()) as running, http(running) as client:
        response = await client.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["message"].startswith(f"{method} {path}: ")
