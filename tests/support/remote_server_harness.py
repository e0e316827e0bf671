"""A ``RemoteServer`` backend under a manual clock, with everything it reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager

import pytest
from fakes.clock import ManualClock
from fakes.llama_server import listening
from fakes.openai_server import FakeOpenAi
from support.waiting import until

from inference.api.engine_errors import EngineError, EngineUnavailable
from inference.api.requests import CompletionRequest
from inference.api.status import Status
from inference.remote.http_client import Address
from inference.remote.server_profile import ProbeRequest
from lsp_server.backend.remote_server import RemoteServer


class PausedClock(ManualClock):
    """A clock whose ``sleep`` returns when a test sets ``go_on``."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await self.go_on.wait()
        self.go_on.clear()
        self.now += seconds


class RemoteServerHarness:
    """A backend for the address that ``find`` returns, with its statuses and warnings."""

    def __init__(self, find: Callable[[], Address]) -> None:
        self.clock = PausedClock()
        self.statuses: list[Status] = []
        self.warnings: list[str] = []
        wanted = ProbeRequest("codellama-7b")
        self.link = RemoteServer(find, wanted, self.statuses.append, self.warnings.append, self.clock.sleep, self.clock)

    async def phase(self, name: str) -> Status:
        await until(lambda: self.statuses and self.statuses[-1].phase == name)
        return self.statuses[-1]

    async def waits(self, count: int) -> list[float | None]:
        await until(lambda: len(self.clock.waits) >= count)
        return self.clock.waits

    async def ask(self, **fields) -> str:
        events = [event async for event in self.link.complete(CompletionRequest("x", **fields))]
        return "".join(getattr(event, "text", "") for event in events)

    async def refusal(self, kind: type[EngineError] = EngineUnavailable, **fields) -> str:
        with pytest.raises(kind) as error:
            await self.ask(**fields)
        return str(error.value)


@asynccontextmanager
async def remote_server(find: Callable[[], Address]):
    opened = RemoteServerHarness(find)
    opened.link.start()
    try:
        yield opened
    finally:
        await opened.link.stop()


@asynccontextmanager
async def remote_server_on(fake: FakeOpenAi):
    async with listening(fake.app()) as url, remote_server(lambda: Address(url, fake.token)) as one:
        yield one, url
