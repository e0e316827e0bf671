"""What a broken or a hostile client sends is answered or refused, and a normal request meanwhile still works."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from fakes.answerer import ScriptedAnswerer
from support.fixtures_engine import RunningService, serving
from support.waiting import until

from inference.server import app, transport

POST = b"POST /v1/completions HTTP/1.1\r\nhost: engine\r\ncontent-type: application/json\r\n"


def http(running: RunningService) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(uds=str(running.socket))
    return httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=30)


async def works(running: RunningService) -> None:
    async with http(running) as client:
        answer = await client.post("/v1/completions", json={"prompt": "p"})
    assert answer.json()["choices"][0]["text"] == "ab"


async def exchange(running: RunningService, *parts: bytes, close: bool = False) -> bytes:
    """Send these, and read until the other end closes; with ``close`` say first that nothing more will come."""
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
    async with serving(runtime, ScriptedAnswerer()) as running:
        answer = await exchange(running, sent, close=True)
        await works(running)
    assert answer == b"" or answer.split(b" ")[1] in (b"400", b"404"), "there is nothing at / either"


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
async def test_what_is_no_request_is_refused_in_openais_shape(runtime, content):
    async with serving(runtime, ScriptedAnswerer()) as running, http(running) as client:
        answer = await client.post("/v1/completions", content=content)
        await works(running)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_half_a_surrogate_pair_is_text_like_any_other(runtime):
    """JSON can spell what UTF-8 cannot; the answer's own JSON must be able to as well."""
    answerer = ScriptedAnswerer()
    async with serving(runtime, answerer) as running, http(running) as client:
        answer = await client.post("/v1/completions", content=b'{"prompt": "\\ud800", "model": ""}')
        named = await client.post("/v1/completions", content=b'{"prompt": "a", "model": "\\ud800"}')
    assert answer.status_code == 200
    assert answerer.asked[0][0] == "\ufffd"
    assert named.status_code == 404
    assert "'\ufffd'" in named.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/score", "/retire"])
@pytest.mark.parametrize("declared", [True, False])
async def test_ten_megabytes_are_too_many(runtime, path, declared):
    """Also where the length is not told beforehand."""
    body = b'{"prompt": "' + b"a" * 10_000_000 + b'"}'

    async def pieces():
        for start in range(0, len(body), 1 << 16):
            yield body[start : start + (1 << 16)]

    async with serving(runtime, ScriptedAnswerer()) as running, http(running) as client:
        answer = await client.post(path, content=body if declared else pieces())
        await works(running)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


async def test_who_sends_no_whole_request_is_let_go(runtime, monkeypatch):
    monkeypatch.setattr(transport, "HEADER_SECONDS", 0.01)
    async with serving(runtime, ScriptedAnswerer()) as running:
        answers = [await exchange(running, part) for part in (b"", b"GET / HT", POST)]
    assert [answer.split(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 408 Request Timeout"] * 3


async def test_body_that_does_not_arrive_is_not_waited_for(runtime, monkeypatch):
    monkeypatch.setattr(transport, "BODY_SECONDS", 0.01)
    async with serving(runtime, ScriptedAnswerer()) as running:
        answer = await exchange(running, POST, b"content-length: 100\r\n\r\n", b'{"prompt"')
        monkeypatch.setattr(transport, "BODY_SECONDS", 30)
        await works(running)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"


async def test_who_closes_half_of_the_connection_is_gone(runtime):
    """From a client that died nothing else can be told: its answer is cancelled."""
    answerer = ScriptedAnswerer(["1", "2", "3"], hold=True)
    async with serving(runtime, answerer) as running:
        body = b'{"prompt": "p", "stream": true}'
        reader, writer = await asyncio.open_unix_connection(str(running.socket))
        writer.write(POST + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert await asyncio.to_thread(answerer.began.wait, 10)
        writer.write_eof()
        async with asyncio.timeout(20):
            await reader.read()
        writer.close()
        await until(lambda: not running.service.requests.held)
        answerer.go.set()
        assert await asyncio.to_thread(answerer.closed.wait, 10)
        answerer.hold, answerer.pieces = False, ["a", "b"]
        await works(running)
    assert "p: 3" not in answerer.log


async def test_client_that_does_not_read_holds_nobody_up(runtime):
    answerer = ScriptedAnswerer(["x" * 100_000] * 30)
    async with serving(runtime, answerer) as running:
        _, writer = await asyncio.open_unix_connection(str(running.socket), limit=1)
        body = b'{"prompt": "deaf", "stream": true}'
        writer.write(POST + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert await asyncio.to_thread(answerer.closed.wait, 10)
        answerer.pieces = ["a", "b"]
        await works(running)
        assert running.service.requests.held == 1, "its answer still waits to be read"
        writer.close()
        await until(lambda: not running.service.requests.held)


async def test_two_hundred_at_once_are_all_answered_or_told_to_come_again(runtime):
    async with serving(runtime, ScriptedAnswerer()) as running:
        silent = [await asyncio.open_unix_connection(str(running.socket)) for _ in range(100)]

        async def one(n: int) -> httpx.Response:
            async with http(running) as client:
                return await client.post("/v1/completions", json={"prompt": "p", "user": str(n)})

        answers = await asyncio.gather(*(one(n) for n in range(200)))
        await works(running)
        for _, writer in silent:
            writer.close()
    statuses = {answer.status_code for answer in answers}
    assert statuses <= {200, 429}
    assert 200 in statuses
    assert all(answer.headers["retry-after"] == "2" for answer in answers if answer.status_code == 429)


async def test_connections_beyond_the_most_are_closed_at_once(runtime, monkeypatch):
    monkeypatch.setattr(transport, "MAX_UNIX_CONNECTIONS", 3)
    async with serving(runtime, ScriptedAnswerer()) as running:
        held = [await asyncio.open_unix_connection(str(running.socket)) for _ in range(3)]
        await until(lambda: len(running.server.server_state.connections) == 3)
        assert await exchange(running, b"GET /health HTTP/1.1\r\nhost: e\r\n\r\n") == b""
        for _, writer in held:
            writer.close()
        await until(lambda: not running.server.server_state.connections)
        await works(running)


@pytest.mark.parametrize(("names", "code"), [(["me"] * 4, "too_many_of_yours"), (["a", "b", "c", "d"], "queue_full")])
async def test_full_queue_says_when_to_come_again(runtime, monkeypatch, names, code):
    """One window's limit is lower, so that it does not fill the queue for all."""
    monkeypatch.setattr(app, "MAX_QUEUED_PER_SESSION", 2 if code == "too_many_of_yours" else 10)
    monkeypatch.setattr(app, "MAX_QUEUED", 3)
    answerer = ScriptedAnswerer(["1", "2"], hold=True)
    fits = 2 if code == "too_many_of_yours" else 3
    async with serving(runtime, answerer) as running, http(running) as client:
        asking = [
            asyncio.ensure_future(client.post("/v1/completions", json={"prompt": "p", "user": name}))
            for name in names[:fits]
        ]
        await until(lambda: running.service.scheduler.waiting == fits)
        refused = await client.post("/v1/completions", json={"prompt": "p", "user": names[fits]})
        answerer.go.set()
        answers = await asyncio.gather(*asking)
        stats = (await client.get("/stats")).json()
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert refused.json()["error"]["code"] == code
    assert [answer.status_code for answer in answers] == [200] * fits
    assert (stats["refused"], stats["answers"]["completion"]["finished"]) == (1, fits)


async def test_more_answers_than_fit_are_refused_as_one(runtime, monkeypatch):
    monkeypatch.setattr(app, "MAX_QUEUED_PER_SESSION", 3)
    async with serving(runtime, ScriptedAnswerer()) as running, http(running) as client:
        answer = await client.post("/v1/completions", json={"prompt": "p", "n": 4})
        await works(running)
    assert answer.status_code == 429


async def test_request_without_a_deadline_gets_one(runtime, monkeypatch):
    """Nothing waits for ever in a queue."""
    monkeypatch.setattr(app, "LONGEST_SECONDS", 0.0)
    async with serving(runtime, ScriptedAnswerer()) as running, http(running) as client:
        answer = await client.post("/v1/completions", json={"prompt": "p", "stream": True})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["message"].startswith("The engine was too busy to begin with this request in time")


async def test_head_of_a_lease_is_answered_and_takes_none(runtime):
    """Its stream would have no end, and no events that tell the client that it has begun."""
    async with serving(runtime, ScriptedAnswerer()) as running:
        answer = await exchange(running, b"HEAD /lease HTTP/1.1\r\nhost: e\r\nconnection: close\r\n\r\n")
        assert running.service.leases.held == 0
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_error_quotes_little_of_what_was_sent(runtime):
    """Else a request of megabytes gets its own text back."""
    async with serving(runtime, ScriptedAnswerer()) as running, http(running) as client:
        answers = [await client.post(path, json={"x" * 1_000_000: 1}) for path in ("/score", "/retire")]
        await works(running)
    assert [answer.status_code for answer in answers] == [422, 400]
    assert max(len(answer.content) for answer in answers) < 2000


async def test_client_that_leaves_is_not_logged_as_an_error(runtime, caplog):
    """Neither while its body arrives nor while its answer is generated."""
    answerer = ScriptedAnswerer(["1", "2"], hold=True)
    async with serving(runtime, answerer) as running:
        await exchange(running, POST, b"content-length: 100\r\n\r\n", b'{"prompt"', close=True)
        asking = exchange(running, POST, b'content-length: 15\r\n\r\n{"prompt": "p"}', close=True)
        await asking
        await until(lambda: not running.service.requests.held and not running.server.server_state.tasks)
        logged = [record.getMessage() for record in caplog.records if record.exc_info]
        answerer.go.set()
    assert logged == []


async def test_body_broken_halfway_gets_one_response(runtime, caplog):
    """The app may be answering the same request already, here with 404."""
    sent = b"POST /nothing HTTP/1.1\r\nhost: e\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
    async with serving(runtime, ScriptedAnswerer()) as running:
        answer = await exchange(running, sent)
        await works(running)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


async def test_unexpected_exception_is_logged_once_and_answered_500(runtime, caplog, monkeypatch):
    async with serving(runtime, ScriptedAnswerer()) as running:
        monkeypatch.setattr(app, "model_list", lambda *_: 1 / 0)
        async with http(running) as client:
            answer = await client.get("/v1/models")
        await works(running)
        logged = [record for record in caplog.records if record.exc_info]
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert len(logged) == 1


@pytest.mark.parametrize("host", [b"", b"[", b"[::1", b"a b", b"\xff", b":", b"a:99999999"])
@pytest.mark.parametrize("path", [b"/nothing", b"//[", b"/health/", b"/%00", b"/v1/models/%ff%00", b"*"])
async def test_odd_host_and_path_are_not_found(runtime, host, path):
    async with serving(runtime, ScriptedAnswerer()) as running:
        sent = b"GET %s HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n" % (path, host)
        answer = await exchange(running, sent)
    assert answer.split(b" ")[1] in (b"404", b"400")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/completions", 405), ("POST", "/v2", 404), ("DELETE", "/health", 405)]
)
async def test_path_or_method_that_is_not_served_is_said_in_openais_shape(runtime, method, path, status):
    async with serving(runtime, ScriptedAnswerer()) as running, http(running) as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(f"{method} {path}: ")
