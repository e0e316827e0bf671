"""Weights go when nobody asks for long and come back for who does; an engine leaves only when it has answered."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import httpx
import pytest
from fakes.answerer import ScriptedAnswerer
from fakes.clock import HandClock
from support.fixtures_engine import RunningService, serving
from support.waiting import until

from inference.api.errors import EngineUnavailable
from inference.api.requests import CompletionRequest
from inference.client.engine_client import EngineClient
from inference.commands.infer_command import infer
from inference.server.leases import Leases
from inference.server.model_manager import UNLOADED


def http(running: RunningService) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(running.socket)), base_url="http://engine")


class Loader:
    """Loads a fresh answerer once ``go`` is set, telling that it is at 40 percent; ``broken`` makes it fail."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.broken = ""

    def __call__(self, tell):
        tell("loading weights", 40)
        assert self.go.wait(10)
        if self.broken:
            raise RuntimeError(self.broken)
        answerer = ScriptedAnswerer(["again"])
        self.made = weakref.ref(answerer)
        return {"starter": answerer}


async def phase(running: RunningService, name: str) -> None:
    await until(lambda: running.service.board.status.phase == name)


async def test_weights_are_unloaded_after_the_idle_time_and_really_let_go(runtime):
    """The last answer's generator would hold them, on the model thread; nothing else may."""
    clock, loader = HandClock(), Loader()
    loader.go.set()
    idle = Leases(600, wait_for=clock.wait_for)
    async with serving(runtime, ScriptedAnswerer(), "idle", load=loader, idle=idle) as running, http(running) as client:
        answer = await client.post("/v1/completions", json={"prompt": "p"})
        keeping = asyncio.ensure_future(running.service.sleep_when_idle())
        await until(lambda: clock.waits[-1:] == [600])
        clock.advance(599)
        assert running.service.board.status.phase == "ready"
        assert loader.made() is not None
        clock.advance(1)
        await phase(running, "idle")
        health = await client.get("/health")
        keeping.cancel()
        await until(lambda: gc.collect() is not None and loader.made() is None)
    assert answer.json()["choices"][0]["text"] == "again"
    assert (health.status_code, health.json()["message"]) == (200, UNLOADED)


async def test_weights_stay_while_an_answer_is_under_way(runtime):
    clock, answerer = HandClock(), ScriptedAnswerer(["1", "2"], hold=True)
    async with (
        serving(runtime, answerer, idle=Leases(600, wait_for=clock.wait_for)) as running,
        http(running) as client,
    ):
        keeping = asyncio.ensure_future(running.service.sleep_when_idle())
        asking = asyncio.ensure_future(client.post("/v1/completions", json={"prompt": "p"}))
        assert await asyncio.to_thread(answerer.began.wait, 10)
        clock.advance(10_000)
        assert not running.service.weights.unload()
        answerer.go.set()
        assert (await asking).json()["choices"][0]["text"] == "12"
        assert running.service.board.status.phase == "ready"
        keeping.cancel()


async def test_next_request_loads_them_and_waits_while_every_window_sees_how_far_it_is(runtime):
    loader = Loader()
    async with serving(runtime, ScriptedAnswerer(), load=loader) as running:
        windows = [EngineClient(running.socket) for _ in range(2)]
        leases = [window.lease() for window in windows]
        for lease in leases:
            assert (await anext(lease)).phase == "ready"
        assert running.service.weights.unload()
        for lease in leases:
            assert (await anext(lease)).phase == "idle"
        stream = windows[0].complete(CompletionRequest("p"))
        asking = asyncio.ensure_future(anext(stream))
        for lease in leases:
            seen = [(status.phase, status.progress) async for status in taken(lease, "loading", 40)]
            assert seen[-1] == ("loading", 40)
        with pytest.raises(EngineUnavailable, match="loading weights"):
            await anext(windows[1].complete(CompletionRequest("p")))
        loader.go.set()
        assert (await asking).text == "again"  # type: ignore[union-attr]
        await stream.aclose()
        for lease, window in zip(leases, windows, strict=True):
            assert [status.phase async for status in taken(lease, "ready", 100)][-1] == "ready"
            await lease.aclose()
            await window.aclose()


async def taken(lease, phase: str, progress: int):
    async for status in lease:
        yield status
        if (status.phase, status.progress) == (phase, progress):
            return


async def test_who_cannot_wait_so_long_is_told_how_far_it_is(runtime):
    """An editor's request has a deadline; the next key finds the weights loaded."""
    loader = Loader()
    async with serving(runtime, ScriptedAnswerer(), load=loader) as running, http(running) as client:
        running.service.weights.unload()
        answer = await client.post("/v1/completions", json={"prompt": "p", "deadline_ms": 1})
        loader.go.set()
        await phase(running, "ready")
        later = await client.post("/v1/completions", json={"prompt": "p"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "loading")
    assert later.json()["choices"][0]["text"] == "again"


async def test_command_that_finds_an_idle_engine_wakes_it(runtime):
    loader = Loader()
    loader.go.set()
    async with serving(runtime, ScriptedAnswerer(), "idle", load=loader):
        answer = await asyncio.wait_for(infer({"input_data": {"input_string": ["x = "]}}, None), 20)
    assert answer == [{"0": "x = again"}]


async def test_failed_loading_is_told_and_tried_again_for_the_next_lease(runtime):
    """Somebody else's program may have needed the memory only for a while."""
    loader = Loader()
    loader.go.set()
    loader.broken = "no room"
    async with serving(runtime, ScriptedAnswerer(), load=loader) as running, http(running) as client:
        running.service.weights.unload()
        answer = await client.post("/v1/completions", json={"prompt": "p"})
        loader.broken = ""
        engine = EngineClient(running.socket)
        lease = engine.lease()
        assert [status.phase async for status in taken(lease, "ready", 100)][-1] == "ready"
        await lease.aclose()
        await engine.aclose()
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "The model could not be loaded (RuntimeError: no room)."


async def test_retiring_engine_finishes_what_it_has_begun_and_takes_nothing_new(runtime):
    """The request under way is another window's, which knows nothing of the update."""
    answerer = ScriptedAnswerer(["1", "2"], hold=True)
    async with serving(runtime, answerer) as running, http(running) as client:
        leaving = asyncio.ensure_future(running.service.unneeded())
        asking = asyncio.ensure_future(client.post("/v1/completions", json={"prompt": "p"}))
        assert await asyncio.to_thread(answerer.began.wait, 10)
        engine = EngineClient(running.socket)
        await engine.retire()
        refused = await client.post("/v1/completions", json={"prompt": "q"})
        assert not leaving.done()
        answerer.go.set()
        assert (await asking).json()["choices"][0]["text"] == "12"
        await asyncio.wait_for(leaving, 10)
        await engine.aclose()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "retiring")


async def test_stopped_at_once_every_waiting_request_is_answered(runtime):
    answerer = ScriptedAnswerer(["1", "2"], hold=True)
    async with serving(runtime, answerer) as running, http(running) as client:
        asking = [
            asyncio.ensure_future(client.post("/v1/completions", json={"prompt": name})) for name in ("a", "b", "c")
        ]
        assert await asyncio.to_thread(answerer.began.wait, 10)
        await until(lambda: running.service.scheduler.waiting == 3)
        engine = EngineClient(running.socket)
        await engine.retire(stop=True, now=True)
        answerer.go.set()
        answers = await asyncio.gather(*asking)
        await asyncio.wait_for(running.service.unneeded(), 10)
        await engine.aclose()
    assert [answer.status_code for answer in answers] == [503] * 3
    assert {answer.json()["error"]["message"] for answer in answers} == {"The engine is shutting down."}


@pytest.mark.parametrize("body", [[], {"stop": 1}, {"later": True}])
async def test_wrong_retirement_is_refused(runtime, body):
    async with serving(runtime, ScriptedAnswerer()) as running, http(running) as client:
        answer = await client.post("/retire", json=body)
        assert running.service.board.status.phase == "ready"
    assert answer.status_code == 400
