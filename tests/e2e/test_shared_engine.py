"""The real engine with the real starter: all sessions share it, and none hangs when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from support.editor_session import EditorSession, editor_session
from support.engine_processes import engines, gone, has_torch
from support.waiting import until

pytestmark = [pytest.mark.starter, pytest.mark.slow]

SETTINGS = {"engine": {"graceSeconds": 1}, "completion": {"deadlineMs": 60_000}}
CODE = "def add(a, b):\n    return "


@pytest.fixture(autouse=True)
def _starter(starter_folder: Path, runtime: Path) -> None:
    """Real weights and a runtime folder for one test."""


async def ask(editor: EditorSession) -> list:
    editor.change(CODE)
    return await editor.inline(1, 11)


async def test_two_sessions_share_one_engine_that_exits_after_the_last(runtime):
    async with editor_session(settings=SETTINGS) as first:
        first.open(CODE)
        assert await ask(first) == [("    return a + b", (1, 0, 1, 11))]
        async with editor_session("neovim", SETTINGS) as second:
            (engine,) = engines(runtime)
            assert {status.pid for status in first.statuses + second.statuses if status.pid} == {engine.pid}
            second.open(CODE)
            assert await ask(second) == [("    return a + b", (1, 0, 1, 11))]
            for editor in (first, second):
                assert not has_torch(editor.pid)
        assert engine.is_running(), "the first window still needs it"
    await gone(engine)
    assert not (runtime / "engine.sock").exists()


async def test_killed_engine_is_replaced_and_its_requests_are_answered(runtime):
    async with editor_session(settings=SETTINGS) as editor:
        editor.open(CODE)
        (engine,) = engines(runtime)
        editor.change("\n".join(f"value_{n} = {n} * {n}" for n in range(300)) + "\nx = ")
        request = editor.request(300, 4)
        engine.send_signal(signal.SIGSTOP)  # long enough that the request is in flight when the engine dies
        editor.ready.clear()
        engine.send_signal(signal.SIGKILL)
        assert await asyncio.wait_for(request, 10) == []
        await asyncio.wait_for(editor.ready.wait(), 120)
        assert await ask(editor) == [("    return a + b", (1, 0, 1, 11))]
        (other,) = engines(runtime)
        assert other.pid != engine.pid
        (message,) = editor.client.messages
        assert message.message.startswith(
            "codellama-ls: The engine ended unexpectedly and was started again: it was killed by SIGKILL"
        )
    await gone(other)


async def test_killed_servers_leave_no_engine_behind(runtime):
    async with editor_session(settings=SETTINGS) as first, editor_session("neovim", SETTINGS) as second:
        (engine,) = engines(runtime)
        for editor in (first, second):
            server = editor.client._server
            assert server is not None
            os.kill(editor.pid, signal.SIGKILL)
            await asyncio.wait_for(server.wait(), 10)
        await gone(engine)
    assert engines(runtime) == []


async def test_idle_engine_unloads_and_the_next_key_reloads_it(runtime):
    """The weights are at least 170 MB; the session sees them unload and load."""
    settings = {**SETTINGS, "engine": {"graceSeconds": 1, "idleMinutes": 0.05}}
    async with editor_session(settings=settings) as editor:
        editor.open(CODE)
        (engine,) = engines(runtime)
        assert await ask(editor) == [("    return a + b", (1, 0, 1, 11))]
        loaded = engine.memory_info().rss
        editor.ready.clear()
        await until(lambda: editor.statuses[-1].phase == "idle", 60)
        await until(lambda: engine.memory_info().rss < loaded - (150 << 20), 60)
        editor.change(f"# sums\n{CODE}")  # other text, because the previous completion is cached
        assert await editor.inline(2, 11) == [("    return a + b", (2, 0, 2, 11))]
        await asyncio.wait_for(editor.ready.wait(), 20)
        phases = [status.phase for status in editor.statuses]
        assert "loading" in phases[phases.index("idle") :]
        assert engines(runtime) == [engine]
    await gone(engine)


async def test_many_sessions_opening_at_once_start_one_engine(runtime):
    async with AsyncExitStack() as stack:
        opening = [stack.enter_async_context(editor_session(settings=SETTINGS)) for _ in range(4)]
        editors = await asyncio.gather(*opening)
        (engine,) = engines(runtime)
        assert {status.pid for editor in editors for status in editor.statuses if status.pid} == {engine.pid}
    await gone(engine)
    assert not (runtime / "engine.running").exists()


async def test_terminated_engine_shuts_down_gracefully(runtime):
    """A logout does this: no socket remains, and no crash is reported or logged."""
    async with editor_session(settings=SETTINGS) as editor:
        (engine,) = engines(runtime)
        editor.ready.clear()
        engine.terminate()
        await gone(engine)
        assert "ERROR" not in (runtime / "engine.log").read_text()
        await asyncio.wait_for(editor.ready.wait(), 120)
        assert editor.client.messages == []
        (other,) = engines(runtime)
    await gone(other)
