"""An editor session and its engine: other versions, crashes, stops, over the engine's real socket."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager

import pytest
from fakes.clock import ManualClock
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import serving
from support.waiting import settle, until

import inference
from inference.api.engine_errors import EngineUnavailable
from inference.api.requests import ChatRequest, CompletionRequest
from inference.api.status import Status
from inference.client import crash_report
from inference.client.crash_report import MAX_FAILED_STARTS
from inference.client.engine_process import EngineNotStarted, EngineOptions
from inference.system.runtime_folder import bind_socket
from inference.text.prompts import Message
from lsp_server.backend.backend import RETRY_AFTER
from lsp_server.backend.local_engine import REPLACE_SECONDS, LocalEngine


class LocalSession:
    """A backend that finds its engine on ``socket``, or keeps searching while ``found`` is cleared."""

    def __init__(self, socket) -> None:
        self.socket = socket
        self.clock = ManualClock()
        self.statuses: list[Status] = []
        self.searches = 0
        self.found = asyncio.Event()
        self.found.set()
        self.backend = LocalEngine(EngineOptions(), self.statuses.append, self._find, self.clock.sleep, self.clock)

    async def _find(self, options: EngineOptions):
        self.searches += 1
        await self.found.wait()
        return self.socket

    async def phase(self, name: str) -> Status:
        await until(lambda: self.statuses and self.statuses[-1].phase == name)
        return self.statuses[-1]


@asynccontextmanager
async def session(socket):
    opened = LocalSession(socket)
    opened.backend.start()
    try:
        yield opened
    finally:
        await opened.backend.stop()


def set_version(running, version: str = "0.0.1") -> None:
    running.service.board.set(version=version)


async def test_older_engine_is_retired_and_replaced_at_once(runtime):
    async with serving(runtime, ScriptedModel()) as running:
        set_version(running)
        async with session(running.socket) as here:
            await asyncio.wait_for(running.service.unneeded(), 10)
            assert (await here.phase("retiring")).message.startswith("the engine finishes its last requests")
            here.found.clear()
            running.server.should_exit = running.server.force_exit = True
            await until(lambda: here.searches == 2)
            assert here.clock.waits == [0]


async def test_other_session_waits_for_the_replacement(runtime):
    async with serving(runtime, ScriptedModel()) as running, session(running.socket) as here:
        await here.phase("ready")
        running.service.board.set(phase="retiring", message="it finishes")
        await here.phase("retiring")
        with pytest.raises(EngineUnavailable, match="it finishes"):
            await anext(here.backend.complete(CompletionRequest("p")))
        here.found.clear()
        running.server.should_exit = running.server.force_exit = True
        await until(lambda: here.searches == 2)
        assert here.clock.waits == [REPLACE_SECONDS]


@pytest.mark.parametrize("version", ["99.0", inference.__version__, "", "custom"])
async def test_newer_or_unknown_version_is_used_as_it_is(runtime, version):
    """Otherwise two sessions of different versions would keep replacing each other's engine."""
    async with serving(runtime, ScriptedModel(["x"])) as running:
        set_version(running, version)
        async with session(running.socket) as here:
            await here.phase("ready")
            stream = here.backend.complete(CompletionRequest("p"))
            assert (await anext(stream)).text == "x"  # type: ignore[union-attr]
            await stream.aclose()
        assert not running.service.leaving.is_set()


async def test_session_retires_at_most_one_engine(runtime):
    async with serving(runtime, ScriptedModel()) as running:
        set_version(running)
        async with session(running.socket) as here:
            await here.phase("retiring")
            running.service.board.set(phase="ready")
            await here.phase("ready")


async def test_crash_is_reported_to_sessions_that_lost_the_engine(runtime):
    """A session opened later does not hear of it."""
    async with serving(runtime, ScriptedModel()) as running:
        running.service.board.set(crash="it was killed by SIGKILL")
        async with session(running.socket) as here:
            assert (await here.phase("ready")).crash == ""
            here.found.clear()
            for connection in list(running.server.server_state.connections):
                connection.transport.abort()
            await until(lambda: here.searches == 2)
            assert here.clock.waits == [0.2]
            assert here.statuses[-1].message == "the engine ended; restarting it"
            here.found.set()
            assert (await here.phase("ready")).crash == "it was killed by SIGKILL"


async def test_next_request_restarts_a_stopped_engine(runtime):
    async with serving(runtime, ScriptedModel()) as running, session(running.socket) as here:
        await here.phase("ready")
        running.service.board.set(phase="stopping", message="stopped")
        await here.phase("stopping")
        for connection in list(running.server.server_state.connections):
            connection.transport.abort()
        await until(lambda: here.clock.waits == [RETRY_AFTER])
        for _ in range(20):
            await asyncio.sleep(0)
        assert here.searches == 1
        with pytest.raises(EngineUnavailable, match="stopped"):
            await anext(here.backend.complete(CompletionRequest("p")))
        await until(lambda: here.searches == 2)


async def test_chat_allows_one_more_start_after_failed_starts(runtime):
    """A completion does not: typing is no deliberate request."""
    for _ in range(MAX_FAILED_STARTS):
        crash_report.count_start(runtime, "the same")
    here = LocalSession(runtime / "engine.sock")
    counts: list[int] = []

    async def find(options: EngineOptions):
        counts.append(crash_report.failed_starts(runtime, "the same"))
        crash_report.count_start(runtime, "the same")
        raise EngineNotStarted("it dies")

    here.backend = LocalEngine(EngineOptions(), here.statuses.append, find, here.clock.sleep, here.clock)
    here.backend.start()
    try:
        asks = (
            here.backend.complete(CompletionRequest("p")),
            here.backend.chat(ChatRequest((Message("user", "hello"),))),
        )
        for n, ask in enumerate(asks, 1):
            await until(lambda n=n: len(counts) == n)
            await settle()
            with pytest.raises(EngineUnavailable, match="it dies"):
                await anext(ask)
        await until(lambda: len(counts) == 3)
    finally:
        await here.backend.stop()
    assert counts == [MAX_FAILED_STARTS - 1, MAX_FAILED_STARTS, MAX_FAILED_STARTS - 1]


async def test_broken_status_callback_does_not_end_the_connection(runtime):
    def broken(status: Status) -> None:
        raise RuntimeError("the editor has gone")

    async with serving(runtime, ScriptedModel(["x"])) as running:
        here = LocalSession(running.socket)
        here.backend = LocalEngine(EngineOptions(), broken, here._find, here.clock.sleep, here.clock)
        here.backend.start()
        await until(lambda: here.backend.status.phase == "ready")
        stream = here.backend.complete(CompletionRequest("p"))
        assert (await anext(stream)).text == "x"  # type: ignore[union-attr]
        await stream.aclose()
        await here.backend.stop()


async def test_unknown_silent_process_is_reported_and_left_alone(runtime):
    """No engine left its mark; the next request looks again."""
    with bind_socket(runtime / "engine.sock") as listener:
        listener.listen()
        here = LocalSession(runtime / "engine.sock")
        here.backend = LocalEngine(
            EngineOptions(), here.statuses.append, here._find, here.clock.sleep, here.clock, silence=0.2
        )
        here.backend.start()
        assert f"process {os.getpid()} cannot be identified as the engine" in (await here.phase("failed")).message
        await settle()
        with pytest.raises(EngineUnavailable):
            await anext(here.backend.complete(CompletionRequest("p")))
        await until(lambda: here.searches == 2)
        await here.backend.stop()


async def test_request_reaches_an_engine_without_weights(runtime):
    """The request makes it load them."""
    async with serving(runtime, ScriptedModel(["x"])) as running, session(running.socket) as here:
        await here.phase("ready")
        running.service.weights.unload()
        await here.phase("idle")
        stream = here.backend.complete(CompletionRequest("p"))
        assert (await anext(stream)).text == "x"  # type: ignore[union-attr]
        await stream.aclose()
        await here.phase("ready")
