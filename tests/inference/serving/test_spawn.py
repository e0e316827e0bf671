"""Starting an engine: what the process does before it listens decides whether another is started."""

from __future__ import annotations

import asyncio
import sys

import pytest

from inference.serving.spawn import MOST_KILLED, EngineNotStarted, EngineOptions, ensure_engine

KILLED = "import os, pathlib, signal, sys; count = pathlib.Path(sys.argv[1]); "
KILLED += "count.write_text(count.read_text() + 'x'); "
KILLED += "len(count.read_text()) < int(sys.argv[2]) and os.kill(os.getpid(), signal.SIGKILL); "
LISTENS = "import socket; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[3]); s.listen(); "
LISTENS += "[s.accept() for _ in range(int(sys.argv[4]))]"


@pytest.fixture
def starts(tmp_path):
    """A file with a mark for each process that began."""
    file = tmp_path / "starts"
    file.write_text("")
    return file


def engine(starts, runtime, listens_at: int, windows: int = 1) -> list[str]:
    """One that is killed before it listens, until it is started for the ``listens_at``-th time; ends when all came."""
    said = [starts, listens_at, runtime / "engine.sock", windows]
    return [sys.executable, "-c", KILLED + LISTENS, *map(str, said)]


async def test_engine_killed_before_it_listens_is_started_again(runtime, starts):
    """Nobody who is at work need hear of it: it came up."""
    path = await ensure_engine(EngineOptions(), engine(starts, runtime, listens_at=MOST_KILLED))
    assert path == runtime / "engine.sock"
    assert starts.read_text() == "x" * MOST_KILLED


async def test_windows_that_find_none_at_once_start_one_process(runtime, starts):
    """As when the engine of many windows dies: each would start its own and all but one leave, seconds later."""
    command = engine(starts, runtime, listens_at=1, windows=4)
    await asyncio.gather(*(ensure_engine(EngineOptions(), command) for _ in range(4)))
    assert starts.read_text() == "x"


async def test_engine_killed_again_and_again_is_given_up_with_its_cause(runtime, starts):
    with pytest.raises(EngineNotStarted, match="ended by SIGKILL"):
        await ensure_engine(EngineOptions(), engine(starts, runtime, listens_at=MOST_KILLED + 1))
    assert starts.read_text() == "x" * MOST_KILLED


async def test_engine_that_says_why_it_cannot_start_is_not_started_again(runtime):
    said = "import sys; print('no such model', file=sys.stderr); sys.exit(1)"
    with pytest.raises(EngineNotStarted, match="The engine did not start: no such model"):
        await ensure_engine(EngineOptions(), [sys.executable, "-c", said])
