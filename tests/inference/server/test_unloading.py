"""Unloading idle weights, loading them again, and graceful shutdown."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import httpx
import pytest
from fakes.clock import ManualClock
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import RunningService, serving
from support.waiting import until

from inference.api.engine_errors import EngineUnavailable
from inference.api.requests import CompletionRequest
from inference.client.engine_client import EngineClient
from inference.commands.infer_command import infer
from inference.server.leases import Leases
from inference.server.model_manager import UNLOADED


def http(running: RunningService) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(running.socket)), base_url="http://engine")


class Loader:
    """Load a new model when ``go`` is set, after reporting 40 percent. ``broken`` makes loading fail."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.broken = ""

    def __call__(self, report):
        report("loading weights", 40)
        assert self.go.wait(10)
        if self.broken:
            raise RuntimeError(self.broken)
        model = ScriptedModel(["again"])
        self.made = weakref.ref(model)
        return {"starter": model}


async def wait_for_phase(running: RunningService, name: str) -> None:
    await until(lambda: running.service.board.status.phase == name)


async def test_idle_weights_are_unloaded_and_freed(runtime):
    """Nothing may keep a reference, such as the last request's generator on the model thread."""
    clock, loader = ManualClock(), Loader()
    loader.go.set()
    idle = Leases(600, wait_for=clock.wait_for)
    async with serving(runtime, ScriptedModel(), "idle", load=loader, idle=idle) as running, http(running) as client:
        response = await client.post("/v1/completions", json={"prompt": "p"})
        unloading = asyncio.ensure_future(running.service.sleep_when_idle())
        await until(lambda: clock.waits[-1:] == [600])
        clock.advance(599)
        assert running.service.board.status.phase == "ready"
        assert loader.made() is not None
        clock.advance(1)
        await wait_for_phase(running, "idle")
        health = await client.get("/health")
        unloading.cancel()
        await until(lambda: gc.collect() is not None and loader.made() is None)
    assert response.json()["choices"][0]["text"] == "again"
    assert (health.status_code, health.json()["message"]) == (200, UNLOADED)


async def test_weights_stay_loaded_while_a_request_runs(runtime):
    clock, model = ManualClock(), ScriptedModel(["1", "2"], hold=True)
    async with (
        serving(runtime, model, idle=Leases(600, wait_for=clock.wait_for)) as running,
        http(running) as client,
    ):
        unloading = asyncio.ensure_future(running.service.sleep_when_idle())
        pending = asyncio.ensure_future(client.post("/v1/completions", json={"prompt": "p"}))
        assert await asyncio.to_thread(model.began.wait, 10)
        clock.advance(10_000)
        assert not running.service.weights.unload()
        model.go.set()
        assert (await pending).json()["choices"][0]["text"] == "12"
        assert running.service.board.status.phase == "ready"
        unloading.cancel()


async def test_next_request_loads_the_weights_and_leases_see_progress(runtime):
    loader = Loader()
    async with serving(runtime, ScriptedModel(), load=loader) as running:
        clients = [EngineClient(running.socket) for _ in range(2)]
        leases = [client.lease() for client in clients]
        for lease in leases:
            assert (await anext(lease)).phase == "ready"
        assert running.service.weights.unload()
        for lease in leases:
            assert (await anext(lease)).phase == "idle"
        stream = clients[0].complete(CompletionRequest("p"))
        pending = asyncio.ensure_future(anext(stream))
        for lease in leases:
            seen = [(status.phase, status.progress) async for status in until_status(lease, "loading", 40)]
            assert seen[-1] == ("loading", 40)
        with pytest.raises(EngineUnavailable, match="loading weights"):
            await anext(clients[1].complete(CompletionRequest("p")))
        loader.go.set()
        assert (await pending).text == "again"  # type: ignore[union-attr]
        await stream.aclose()
        for lease, client in zip(leases, clients, strict=True):
            assert [status.phase async for status in until_status(lease, "ready", 100)][-1] == "ready"
            await lease.aclose()
            await client.aclose()


async def until_status(lease, phase: str, progress: int):
    async for status in lease:
        yield status
        if (status.phase, status.progress) == (phase, progress):
            return


async def test_request_with_a_short_deadline_gets_503_while_loading(runtime):
    """Loading goes on, so that the next keystroke finds the weights loaded."""
    loader = Loader()
    async with serving(runtime, ScriptedModel(), load=loader) as running, http(running) as client:
        running.service.weights.unload()
        response = await client.post("/v1/completions", json={"prompt": "p", "deadline_ms": 1})
        loader.go.set()
        await wait_for_phase(running, "ready")
        later = await client.post("/v1/completions", json={"prompt": "p"})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "loading")
    assert later.json()["choices"][0]["text"] == "again"


async def test_infer_command_wakes_an_idle_engine(runtime):
    loader = Loader()
    loader.go.set()
    async with serving(runtime, ScriptedModel(), "idle", load=loader):
        response = await asyncio.wait_for(infer({"input_data": {"input_string": ["x = "]}}, None), 20)
    assert response == [{"0": "x = again"}]


async def test_failed_loading_is_reported_and_retried_by_the_next_lease(runtime):
    """Another program may have released its memory since."""
    loader = Loader()
    loader.go.set()
    loader.broken = "no room"
    async with serving(runtime, ScriptedModel(), load=loader) as running, http(running) as client:
        running.service.weights.unload()
        response = await client.post("/v1/completions", json={"prompt": "p"})
        loader.broken = ""
        engine = EngineClient(running.socket)
        lease = engine.lease()
        assert [status.phase async for status in until_status(lease, "ready", 100)][-1] == "ready"
        await lease.aclose()
        await engine.aclose()
    assert response.status_code == 503
    assert response.json()["error"]["message"] == "The model could not be loaded (RuntimeError: no room)."


async def test_graceful_shutdown_finishes_running_requests(runtime):
    """New requests are refused meanwhile."""
    model = ScriptedModel(["1", "2"], hold=True)
    async with serving(runtime, model) as running, http(running) as client:
        leaving = asyncio.ensure_future(running.service.unneeded())
        pending = asyncio.ensure_future(client.post("/v1/completions", json={"prompt": "p"}))
        assert await asyncio.to_thread(model.began.wait, 10)
        engine = EngineClient(running.socket)
        await engine.retire()
        refused = await client.post("/v1/completions", json={"prompt": "q"})
        assert not leaving.done()
        model.go.set()
        assert (await pending).json()["choices"][0]["text"] == "12"
        await asyncio.wait_for(leaving, 10)
        await engine.aclose()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "retiring")


async def test_immediate_shutdown_fails_all_queued_requests(runtime):
    model = ScriptedModel(["1", "2"], hold=True)
    async with serving(runtime, model) as running, http(running) as client:
        pending = [
            asyncio.ensure_future(client.post("/v1/completions", json={"prompt": name})) for name in ("a", "b", "c")
        ]
        assert await asyncio.to_thread(model.began.wait, 10)
        await until(lambda: running.service.scheduler.waiting == 3)
        engine = EngineClient(running.socket)
        await engine.retire(stop=True, now=True)
        model.go.set()
        responses = await asyncio.gather(*pending)
        await asyncio.wait_for(running.service.unneeded(), 10)
        await engine.aclose()
    assert [response.status_code for response in responses] == [503] * 3
    assert {response.json()["error"]["message"] for response in responses} == {"The engine is shutting down."}


@pytest.mark.parametrize("body", [[], {"stop": 1}, {"later": True}])
async def test_invalid_shutdown_request_is_refused(runtime, body):
    async with serving(runtime, ScriptedModel()) as running, http(running) as client:
        response = await client.post("/retire", json=body)
        assert running.service.board.status.phase == "ready"
    assert response.status_code == 400
