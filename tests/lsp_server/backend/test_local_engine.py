"""A window and its engine: another version, a crash, a stop; each through the engine's real socket."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager

import pytest
from fakes.answerer import ScriptedAnswerer
from fakes.clock import HandClock
from support.fixtures_engine import serving
from support.waiting import settle, until

import inference
from inference.api import crash_report
from inference.api.crash_report import MOST_DEATHS
from inference.api.errors import EngineUnavailable
from inference.api.requests import ChatRequest, CompletionRequest
from inference.api.status import Status
from inference.client.engine_process import EngineKeepsDying, EngineOptions
from inference.system.runtime_folder import bind
from inference.text.prompts import Message
from lsp_server.backend.local_engine import GIVE_WAY, RETRY_AFTER, LocalEngine


class OneWindow:
    """A link whose engine is found on ``socket``; where there is none, it is being started without end."""

    def __init__(self, socket) -> None:
        self.socket = socket
        self.clock = HandClock()
        self.statuses: list[Status] = []
        self.searches = 0
        self.found = asyncio.Event()
        self.found.set()
        self.link = LocalEngine(EngineOptions(), self.statuses.append, self._find, self.clock.sleep, self.clock)

    async def _find(self, options: EngineOptions):
        self.searches += 1
        await self.found.wait()
        return self.socket

    async def phase(self, name: str) -> Status:
        await until(lambda: self.statuses and self.statuses[-1].phase == name)
        return self.statuses[-1]


@asynccontextmanager
async def window(socket):
    opened = OneWindow(socket)
    opened.link.start()
    try:
        yield opened
    finally:
        await opened.link.stop()


def older(running, version: str = "0.0.1") -> None:
    running.service.board.set(version=version)


async def test_engine_of_an_older_version_is_asked_to_leave_and_another_is_looked_for_at_once(runtime):
    async with serving(runtime, ScriptedAnswerer()) as running:
        older(running)
        async with window(running.socket) as one:
            await asyncio.wait_for(running.service.unneeded(), 10)
            assert (await one.phase("retiring")).message.startswith("the engine finishes its last requests")
            one.found.clear()
            running.server.should_exit = running.server.force_exit = True
            await until(lambda: one.searches == 2)
            assert one.clock.waits == [0]


async def test_window_that_did_not_ask_gives_way_to_the_one_that_did(runtime):
    async with serving(runtime, ScriptedAnswerer()) as running, window(running.socket) as one:
        await one.phase("ready")
        running.service.board.set(phase="retiring", message="it finishes")
        await one.phase("retiring")
        with pytest.raises(EngineUnavailable, match="it finishes"):
            await anext(one.link.complete(CompletionRequest("p")))
        one.found.clear()
        running.server.should_exit = running.server.force_exit = True
        await until(lambda: one.searches == 2)
        assert one.clock.waits == [GIVE_WAY]


@pytest.mark.parametrize("version", ["99.0", inference.__version__, "", "of my own"])
async def test_engine_of_a_newer_or_unknown_version_is_used_as_it_is(runtime, version):
    """Else two windows of different versions would replace each other's engine without end."""
    async with serving(runtime, ScriptedAnswerer(["x"])) as running:
        older(running, version)
        async with window(running.socket) as one:
            await one.phase("ready")
            stream = one.link.complete(CompletionRequest("p"))
            assert (await anext(stream)).text == "x"  # type: ignore[union-attr]
            await stream.aclose()
        assert not running.service.leaving.is_set()


async def test_only_one_engine_is_asked_to_leave_in_a_windows_life(runtime):
    async with serving(runtime, ScriptedAnswerer()) as running:
        older(running)
        async with window(running.socket) as one:
            await one.phase("retiring")
            running.service.board.set(phase="ready")
            await one.phase("ready")


async def test_crash_is_told_by_the_next_engine_to_who_saw_it(runtime):
    """A window opened later need not know what happened before."""
    async with serving(runtime, ScriptedAnswerer()) as running:
        running.service.board.set(crash="it was killed by SIGKILL")
        async with window(running.socket) as one:
            assert (await one.phase("ready")).crash == ""
            one.found.clear()
            for connection in list(running.server.server_state.connections):
                connection.transport.abort()
            await until(lambda: one.searches == 2)
            assert one.clock.waits == [0.2]
            assert one.statuses[-1].message == "the engine has gone; starting it again"
            one.found.set()
            assert (await one.phase("ready")).crash == "it was killed by SIGKILL"


async def test_stopped_engine_is_started_again_by_the_next_request_only(runtime):
    async with serving(runtime, ScriptedAnswerer()) as running, window(running.socket) as one:
        await one.phase("ready")
        running.service.board.set(phase="stopping", message="stopped")
        await one.phase("stopping")
        for connection in list(running.server.server_state.connections):
            connection.transport.abort()
        await until(lambda: one.clock.waits == [RETRY_AFTER])
        for _ in range(20):
            await asyncio.sleep(0)
        assert one.searches == 1
        with pytest.raises(EngineUnavailable, match="stopped"):
            await anext(one.link.complete(CompletionRequest("p")))
        await until(lambda: one.searches == 2)


async def test_chat_allows_an_engine_that_kept_dying_one_more_start(runtime):
    """To type on does not."""
    for _ in range(MOST_DEATHS):
        crash_report.add(runtime, "the same")
    one = OneWindow(runtime / "engine.sock")
    counts: list[int] = []

    async def find(options: EngineOptions):
        counts.append(crash_report.deaths(runtime, "the same"))
        crash_report.add(runtime, "the same")
        raise EngineKeepsDying("it dies")

    one.link = LocalEngine(EngineOptions(), one.statuses.append, find, one.clock.sleep, one.clock)
    one.link.start()
    try:
        asks = (one.link.complete(CompletionRequest("p")), one.link.chat(ChatRequest((Message("user", "hello"),))))
        for n, ask in enumerate(asks, 1):
            await until(lambda n=n: len(counts) == n)
            await settle()
            with pytest.raises(EngineUnavailable, match="it dies"):
                await anext(ask)
        await until(lambda: len(counts) == 3)
    finally:
        await one.link.stop()
    assert counts == [MOST_DEATHS - 1, MOST_DEATHS, MOST_DEATHS - 1]


async def test_status_that_cannot_be_shown_does_not_end_the_link(runtime):
    def broken(status: Status) -> None:
        raise RuntimeError("the editor has gone")

    async with serving(runtime, ScriptedAnswerer(["x"])) as running:
        one = OneWindow(running.socket)
        one.link = LocalEngine(EngineOptions(), broken, one._find, one.clock.sleep, one.clock)
        one.link.start()
        await until(lambda: one.link.status.phase == "ready")
        stream = one.link.complete(CompletionRequest("p"))
        assert (await anext(stream)).text == "x"  # type: ignore[union-attr]
        await stream.aclose()
        await one.link.stop()


async def test_silent_process_that_is_not_known_is_told_and_left_alone(runtime):
    """There is no engine's mark; the next request looks again."""
    with bind(runtime / "engine.sock") as listener:
        listener.listen()
        one = OneWindow(runtime / "engine.sock")
        one.link = LocalEngine(EngineOptions(), one.statuses.append, one._find, one.clock.sleep, one.clock, silence=0.2)
        one.link.start()
        assert f"process {os.getpid()} is not known to be it" in (await one.phase("failed")).message
        await settle()
        with pytest.raises(EngineUnavailable):
            await anext(one.link.complete(CompletionRequest("p")))
        await until(lambda: one.searches == 2)
        await one.link.stop()


async def test_engine_without_its_weights_is_asked_all_the_same(runtime):
    """That is what makes it load them."""
    async with serving(runtime, ScriptedAnswerer(["x"])) as running, window(running.socket) as one:
        await one.phase("ready")
        running.service.weights.unload()
        await one.phase("idle")
        stream = one.link.complete(CompletionRequest("p"))
        assert (await anext(stream)).text == "x"  # type: ignore[union-attr]
        await stream.aclose()
        await one.phase("ready")
