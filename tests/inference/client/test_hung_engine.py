"""Only a silent engine that is proved to be this user's is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.answerer import ScriptedAnswerer
from support.fixtures_engine import serving

from inference.api import crash_report
from inference.api.errors import EngineError
from inference.client import hung_engine
from inference.client.hung_engine import MOST_PINGS, end, end_if_hung

MUTE = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print(flush=True); "
MUTE += "sys.stdin.read()"


@contextmanager
def mute(runtime: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that listens where the engine does, and accepts nothing."""
    command = [sys.executable, "-c", MUTE, str(runtime / "engine.sock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


async def test_hung_engine_is_killed_and_the_next_one_tells_why(runtime):
    with mute(runtime) as process:
        (runtime / crash_report.MARK).write_text(str(process.pid))
        assert await end_if_hung(runtime / "engine.sock", 0.1)
        assert process.wait(10) == -signal.SIGKILL
        crash_report.note(runtime / "engine.log", process.returncode)
    assert crash_report.begin(runtime, runtime / "engine.log") == "it did not answer any more"


@pytest.mark.parametrize("mark", ["", "1", "nonsense"])
async def test_process_without_the_engines_mark_is_left_alone(runtime, mark):
    """The mark may be one of an engine that is dead, whose number another process has by now."""
    (runtime / crash_report.MARK).write_text(mark)
    with mute(runtime) as process:
        with pytest.raises(EngineError, match=f"process {process.pid} is not known to be it: end it yourself"):
            await end_if_hung(runtime / "engine.sock", 0.1)
        assert process.poll() is None


async def test_marked_process_that_does_not_listen_is_left_alone(runtime):
    with mute(runtime) as one:
        (runtime / "engine.sock").unlink()
        with mute(runtime) as other:
            (runtime / crash_report.MARK).write_text(str(one.pid))
            with pytest.raises(EngineError):
                await end(runtime / "engine.sock")
            assert (one.poll(), other.poll()) == (None, None)


async def test_where_nobody_listens_nobody_is_ended(runtime):
    (runtime / crash_report.MARK).write_text(str(os.getpid()))
    assert not await end_if_hung(runtime / "engine.sock", 0.1)
    assert not await end(runtime / "engine.sock")


async def test_engine_that_answers_is_left_alone(runtime):
    (runtime / crash_report.MARK).write_text(str(os.getpid()))
    async with serving(runtime, ScriptedAnswerer(), phase="loading") as running:
        assert not await end_if_hung(running.socket, 10)


@pytest.mark.parametrize("sign", ["processor", "disk"])
async def test_silent_engine_that_works_is_asked_again_and_again(runtime, monkeypatch, sign):
    asked: list[float] = []

    async def silent(path: Path, seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) == MOST_PINGS

    monkeypatch.setattr(hung_engine, "_answers", silent)
    if sign == "disk":
        monkeypatch.setattr(hung_engine, "_waits_for_disk", lambda process: True)
    else:
        monkeypatch.setattr(hung_engine, "_used", lambda process: float(len(asked)))
    assert not await end_if_hung(runtime / "engine.sock", 1.0)
    assert len(asked) == MOST_PINGS
