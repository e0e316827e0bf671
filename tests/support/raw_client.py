"""An LSP client that can send any bytes and records every message of the server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import psutil

from lsp_server.session import CodeLlamaServer

SERVER = [sys.executable, "-m", "lsp_server", "--stdio"]
CAPABILITIES: dict[str, Any] = {"textDocument": {"inlineCompletion": {}}, "experimental": {"codellamaStatus": True}}


def framed(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def encoded(message: Any) -> bytes:
    return framed(json.dumps(message).encode())


def call(method: str, params: Any = None, id_: Any = None, **more: Any) -> dict[str, Any]:
    """Return a request, or without an id a notification."""
    message = {"jsonrpc": "2.0", "method": method, "params": params, **more}
    return message if id_ is None else {**message, "id": id_}


def document(uri: str, text: str) -> dict[str, Any]:
    return {"uri": uri, "languageId": "python", "version": 1, "text": text}


def initialize(id_: Any = "first", **params: Any) -> dict[str, Any]:
    return call("initialize", {"processId": None, "rootUri": None, "capabilities": CAPABILITIES, **params}, id_)


class RawClient:
    """``answers`` are the responses by id, ``told`` all notifications."""

    def __init__(self, reply: Callable[[dict[str, Any]], Any]) -> None:
        self.answers: defaultdict[Any, list[dict[str, Any]]] = defaultdict(list)
        self.told: list[dict[str, Any]] = []
        self._reply = reply
        self._heard = asyncio.Event()
        self._listening: asyncio.Future[None]

    def write(self, raw: bytes) -> None:
        raise NotImplementedError

    def send(self, *messages: Any) -> None:
        self.write(b"".join(map(encoded, messages)))

    async def answer(self, id_: Any, seconds: float = 30) -> dict[str, Any]:
        """Return the first response with this id; fail if the server ends or is silent."""
        await self.until(lambda: id_ in self.answers, seconds)
        return self.answers[id_][0]

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        self.send(message)
        return await self.answer(message["id"])

    async def until(self, condition: Callable[[], object], seconds: float = 30) -> None:
        """Wait until ``condition`` holds; check it after each message of the server."""
        async with asyncio.timeout(seconds):
            while not condition():
                assert not self._listening.done(), f"the server has ended\n{self.log}"
                self._heard.clear()
                await self._heard.wait()

    @property
    def log(self) -> str:
        return ""

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        try:
            while header := await stream.readuntil(b"\r\n\r\n"):
                length = int(header.split(b"\r\n")[0].removeprefix(b"Content-Length: "))
                self._hear(json.loads(await stream.readexactly(length)))
        except asyncio.IncompleteReadError:
            pass
        finally:
            asyncio.get_running_loop().call_soon(self._heard.set)

    def _hear(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            self.answers[message["id"]].append(message)
        elif "id" not in message:
            self.told.append(message)
        elif (reply := self._reply(message)) is not None:
            self.send(reply)
        self._heard.set()


class ProcessClient(RawClient):
    """A client of a server process."""

    def __init__(self, process: asyncio.subprocess.Process, reply: Callable[[dict[str, Any]], Any]) -> None:
        super().__init__(reply)
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self.process, self.stdin = process, process.stdin
        self.stderr = bytearray()
        self._listening = asyncio.ensure_future(self._listen(process.stdout))
        self._logging = asyncio.ensure_future(self._read_stderr(process.stderr))

    def write(self, raw: bytes) -> None:
        self.stdin.write(raw)

    async def ended(self, seconds: float = 30) -> int:
        """Close the server's stdin, and return its exit status."""
        self.stdin.close()
        status = await asyncio.wait_for(self.process.wait(), seconds)
        await asyncio.gather(self._listening, self._logging)
        return status

    @property
    def log(self) -> str:
        return self.stderr.decode(errors="replace")

    @property
    def resident(self) -> int:
        """Resident memory in bytes."""
        return psutil.Process(self.process.pid).memory_info().rss

    async def _read_stderr(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(2**16):
            self.stderr += chunk


class LoopClient(RawClient):
    """A client of a server in this event loop."""

    def __init__(self, server: CodeLlamaServer) -> None:
        super().__init__(agree)
        self._to_server, from_server = asyncio.StreamReader(), asyncio.StreamReader()
        server.protocol.set_writer(SimpleNamespace(write=from_server.feed_data))  # type: ignore[arg-type]
        self._listening = asyncio.ensure_future(self._listen(from_server))
        self._serving = asyncio.ensure_future(server.protocol.listen(self._to_server.read))

    def write(self, raw: bytes) -> None:
        self._to_server.feed_data(raw)

    async def close(self) -> None:
        self._to_server.feed_eof()
        await self._serving
        self._listening.cancel()


def agree(request: dict[str, Any]) -> Any:
    """Answer each request of the server with null."""
    return {"jsonrpc": "2.0", "id": request["id"], "result": None}


@asynccontextmanager
async def raw_client(
    reply: Callable[[dict[str, Any]], Any] = agree, env: Mapping[str, str] | None = None
) -> AsyncIterator[ProcessClient]:
    """Start a server process; kill it at the end if it still runs."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *SERVER, stdin=pipe, stdout=pipe, stderr=pipe, env={**os.environ, **(env or {})}
    )
    client = ProcessClient(process, reply)
    try:
        yield client
    finally:
        if process.returncode is None:
            process.kill()
        await client.ended()
