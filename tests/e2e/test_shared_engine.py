"""The real engine with the real starter behind real servers: one for all windows, and nobody hangs when one dies."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest
from e2e_window import Window, window

pytestmark = [pytest.mark.starter, pytest.mark.slow]

SETTINGS = {"engine": {"graceSeconds": 1}, "completion": {"deadlineMs": 60_000}}
CODE = "def add(a, b):\n    return "


@pytest.fixture(autouse=True)
def _starter(starter_folder: Path, runtime: Path) -> None:
    """Real weights, and a runtime folder of this test's own."""


def engines(runtime: Path) -> list[psutil.Process]:
    """Processes of this test's engine: those that inherited its runtime folder."""
    return [p for p in psutil.process_iter() if _is_engine(p, str(runtime.parent))]


def _is_engine(process: psutil.Process, folder: str) -> bool:
    try:
        named = "inference.serving.main" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
        return named and process.environ().get("XDG_RUNTIME_DIR") == folder
    except psutil.Error:
        return False


def has_torch(pid: int) -> bool:
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


async def gone(process: psutil.Process) -> None:
    await asyncio.to_thread(process.wait, 30)


async def ask(editor: Window) -> list:
    editor.change(CODE)
    return await editor.inline(1, 11)


async def test_two_windows_share_one_engine_and_it_leaves_after_the_last(runtime):
    async with window(settings=SETTINGS) as first:
        first.open(CODE)
        assert await ask(first) == [("    return a + b", (1, 0, 1, 11))]
        async with window("neovim", SETTINGS) as second:
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
    async with window(settings=SETTINGS) as editor:
        editor.open(CODE)
        (engine,) = engines(runtime)
        editor.change("\n".join(f"value_{n} = {n} * {n}" for n in range(300)) + "\nx = ")
        request = editor.request(300, 4)
        engine.send_signal(signal.SIGSTOP)  # so that the request surely is under way when it dies
        editor.ready.clear()
        engine.send_signal(signal.SIGKILL)
        assert await asyncio.wait_for(request, 10) == []
        await asyncio.wait_for(editor.ready.wait(), 60)
        assert await ask(editor) == [("    return a + b", (1, 0, 1, 11))]
        (other,) = engines(runtime)
        assert other.pid != engine.pid
    await gone(other)


async def test_killed_servers_leave_no_engine_behind(runtime):
    async with window(settings=SETTINGS) as first, window("neovim", SETTINGS) as second:
        (engine,) = engines(runtime)
        for editor in (first, second):
            server = editor.client._server
            assert server is not None
            os.kill(editor.pid, signal.SIGKILL)
            await asyncio.wait_for(server.wait(), 10)
        await gone(engine)
    assert engines(runtime) == []
