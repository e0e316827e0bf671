"""Starting an engine: what the process does before it listens decides whether another is started."""

from __future__ import annotations

import sys

import pytest

from inference.serving.spawn import MOST_KILLED, EngineNotStarted, EngineOptions, ensure_engine

KILLED = "import os, pathlib, signal, sys; count = pathlib.Path(sys.argv[1]); "
KILLED += "count.write_text(count.read_text() + 'x'); "
KILLED += "len(count.read_text()) < int(sys.argv[2]) and os.kill(os.getpid(), signal.SIGKILL); "
LISTENS = "import socket; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[3]); s.listen(); s.accept()"


@pytest.fixture
def starts(tmp_path):
    """A file with a mark for each process that began."""
    file = tmp_path / "starts"
    file.write_text("")
    return file


def engine(starts, runtime, listens_at: int) -> list[str]:
    """One that is killed before it listens, until it is started for the ``listens_at``-th time."""
    return [sys.executable, "-c", KILLED + LISTENS, str(starts), str(listens_at), str(runtime / "engine.sock")]


async def test_engine_killed_before_it_listens_is_started_again(runtime, starts):
    """Nobody who is at work need hear of it: it came up."""
    path = await ensure_engine(EngineOptions(), engine(starts, runtime, listens_at=MOST_KILLED))
    assert path == runtime / "engine.sock"
    assert starts.read_text() == "x" * MOST_KILLED


async def test_engine_killed_again_and_again_is_given_up_with_its_cause(runtime, starts):
    with pytest.raises(EngineNotStarted, match="ended by SIGKILL"):
        await ensure_engine(EngineOptions(), engine(starts, runtime, listens_at=MOST_KILLED + 1))
    assert starts.read_text() == "x" * MOST_KILLED


async def test_engine_that_says_why_it_cannot_start_is_not_started_again(runtime):
    said = "import sys; print('no such model', file=sys.stderr); sys.exit(1)"
    with pytest.raises(EngineNotStarted, match="The engine did not start: no such model"):
        await ensure_engine(EngineOptions(), [sys.executable, "-c", said])
