"""Only a silent process that is proved to be this user's engine is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import serving

from inference.api.engine_errors import EngineError
from inference.client import crash_report, hung_engine
from inference.client.hung_engine import MOST_PINGS, kill_engine, kill_if_hung

MUTE = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print(flush=True); "
MUTE += "sys.stdin.read()"


@contextmanager
def mute(runtime: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that listens on the engine's socket and accepts no connection."""
    command = [sys.executable, "-c", MUTE, str(runtime / "engine.sock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


async def test_hung_engine_is_killed_and_the_next_one_reports_it(runtime):
    with mute(runtime) as process:
        (runtime / crash_report.CRASH_MARK).write_text(str(process.pid))
        assert await kill_if_hung(runtime / "engine.sock", 0.1)
        assert process.wait(10) == -signal.SIGKILL
        crash_report.log_exit(runtime / "engine.log", process.returncode)
    assert crash_report.mark_running(runtime, runtime / "engine.log") == "it did not respond any more"


@pytest.mark.parametrize("mark", ["", "1", "nonsense"])
async def test_process_without_the_engines_mark_is_not_killed(runtime, mark):
    """The mark may be that of a dead engine, and its process id reused."""
    (runtime / crash_report.CRASH_MARK).write_text(mark)
    with mute(runtime) as process:
        with pytest.raises(EngineError, match=f"process {process.pid} cannot be identified as the engine"):
            await kill_if_hung(runtime / "engine.sock", 0.1)
        assert process.poll() is None


async def test_marked_process_that_does_not_listen_is_not_killed(runtime):
    with mute(runtime) as one:
        (runtime / "engine.sock").unlink()
        with mute(runtime) as other:
            (runtime / crash_report.CRASH_MARK).write_text(str(one.pid))
            with pytest.raises(EngineError):
                await kill_engine(runtime / "engine.sock")
            assert (one.poll(), other.poll()) == (None, None)


async def test_nothing_is_killed_without_a_listening_process(runtime):
    (runtime / crash_report.CRASH_MARK).write_text(str(os.getpid()))
    assert not await kill_if_hung(runtime / "engine.sock", 0.1)
    assert not await kill_engine(runtime / "engine.sock")


async def test_responding_engine_is_not_killed(runtime):
    (runtime / crash_report.CRASH_MARK).write_text(str(os.getpid()))
    async with serving(runtime, ScriptedModel(), phase="loading") as running:
        assert not await kill_if_hung(running.socket, 10)


@pytest.mark.parametrize("sign", ["processor", "disk"])
async def test_busy_silent_engine_is_pinged_several_times(runtime, monkeypatch, sign):
    pings: list[float] = []

    async def silent(path: Path, seconds: float) -> bool:
        pings.append(seconds)
        return len(pings) == MOST_PINGS

    monkeypatch.setattr(hung_engine, "_answers", silent)
    if sign == "disk":
        monkeypatch.setattr(hung_engine, "_waits_for_disk", lambda process: True)
    else:
        monkeypatch.setattr(hung_engine, "_cpu_seconds", lambda process: float(len(pings)))
    assert not await kill_if_hung(runtime / "engine.sock", 1.0)
    assert len(pings) == MOST_PINGS
