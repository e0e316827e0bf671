"""Starting an engine: what the process does before it listens decides whether another is started."""

from __future__ import annotations

import asyncio
import resource
import sys

import psutil
import pytest

from inference.api import crash_report
from inference.api.crash_report import MOST_DEATHS
from inference.client.engine_process import (
    EngineNotStarted,
    EngineOptions,
    allow_one_more,
    ensure_engine,
    log_path,
)
from inference.models.manifest import MANIFEST
from inference.models.store import FOLDER_VARIABLE
from inference.system.runtime_folder import NotPrivateError

KILLED = "import os, pathlib, signal, sys; count = pathlib.Path(sys.argv[1]); "
KILLED += "count.write_text(count.read_text() + 'x'); "
KILLED += "len(count.read_text()) < int(sys.argv[2]) and os.kill(os.getpid(), signal.SIGKILL); "
LISTENS = "import socket; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[3]); s.listen(); "
LISTENS += "[s.accept() for _ in range(int(sys.argv[4]))]"


@pytest.fixture
def begun(tmp_path):
    """A file with a mark for each process that began."""
    file = tmp_path / "starts"
    file.write_text("")
    return file


def engine(begun, runtime, listens_at: int, windows: int = 1) -> list[str]:
    """One that is killed before it listens, until it is started for the ``listens_at``-th time; ends when all came."""
    said = [begun, listens_at, runtime / "engine.sock", windows]
    return [sys.executable, "-c", KILLED + LISTENS, *map(str, said)]


async def test_engine_killed_before_it_listens_is_started_again(runtime, begun):
    """Nobody who is at work need hear of it: it came up."""
    path = await ensure_engine(EngineOptions(), engine(begun, runtime, listens_at=MOST_DEATHS))
    assert path == runtime / "engine.sock"
    assert begun.read_text() == "x" * MOST_DEATHS


async def test_windows_that_find_none_at_once_start_one_process(runtime, begun):
    """As when the engine of many windows dies: each would start its own and all but one leave, seconds later."""
    command = engine(begun, runtime, listens_at=1, windows=4)
    await asyncio.gather(*(ensure_engine(EngineOptions(), command) for _ in range(4)))
    assert begun.read_text() == "x"


async def test_engine_killed_again_and_again_is_given_up_with_its_cause(runtime, begun):
    """By every window, and for as long as nothing changes."""
    command = engine(begun, runtime, listens_at=MOST_DEATHS + 1)
    for _ in range(3):
        with pytest.raises(EngineNotStarted, match="died 3 times while it loaded 'starter': it was killed by SIGKILL"):
            await ensure_engine(EngineOptions(), command)
    assert begun.read_text() == "x" * MOST_DEATHS


async def test_user_who_asks_gets_one_more_start(runtime, begun):
    command = engine(begun, runtime, listens_at=MOST_DEATHS + 2)
    with pytest.raises(EngineNotStarted):
        await ensure_engine(EngineOptions(), command)
    allow_one_more()
    with pytest.raises(EngineNotStarted):
        await ensure_engine(EngineOptions(), command)
    assert begun.read_text() == "x" * (MOST_DEATHS + 1)
    allow_one_more()
    await ensure_engine(EngineOptions(), command)


@pytest.mark.parametrize("change", ["settings", "pull"])
async def test_changed_circumstances_are_tried(runtime, begun, change, monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "models"))
    command = engine(begun, runtime, listens_at=MOST_DEATHS + 1)
    with pytest.raises(EngineNotStarted):
        await ensure_engine(EngineOptions(), command)
    if change == "pull":
        (tmp_path / "models" / "starter").mkdir(parents=True)
        (tmp_path / "models" / "starter" / MANIFEST).touch()
    await ensure_engine(EngineOptions(context=1000 if change == "settings" else None), command)


async def test_deaths_before_the_machine_was_started_do_not_count(runtime, monkeypatch):
    crash_report.add(runtime, "the same")
    assert crash_report.deaths(runtime, "the same") == 1
    monkeypatch.setattr(psutil, "boot_time", lambda: (runtime / crash_report.RECORD).stat().st_mtime + 1)
    assert crash_report.deaths(runtime, "the same") == 0


def test_damaged_record_counts_nothing(runtime):
    for text in ("", "[]", '{"count": "x", "under": "u"}', '{"count": null, "under": "u"}'):
        (runtime / crash_report.RECORD).write_text(text)
        crash_report.allow_one_more(runtime)
        assert crash_report.deaths(runtime, "u") == 0


@pytest.mark.parametrize("name", ["engine.log", "engine.starting", "engine.starts"])
async def test_folder_in_place_of_a_file_is_one_sentence(runtime, begun, name):
    (runtime / name).mkdir()
    command = engine(begun, runtime, listens_at=1)
    with pytest.raises(NotPrivateError, match=rf"{name} is a folder, but a file belongs there\. Remove it\."):
        await ensure_engine(EngineOptions(), command)
    (runtime / name).rmdir()
    await ensure_engine(EngineOptions(), command)


@pytest.mark.parametrize("name", ["engine.sock", "engine.lock", "engine.running"])
async def test_folder_that_stops_the_real_engine_is_one_sentence(runtime, name):
    (runtime / name).mkdir()
    with pytest.raises(EngineNotStarted, match=rf"did not start: \S*/{name} is a folder, but a file"):
        await ensure_engine(EngineOptions())
    assert "Traceback" not in log_path().read_text()


async def test_without_a_file_descriptor_left_is_one_sentence(runtime, begun):
    command, (soft, hard) = engine(begun, runtime, listens_at=1), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(NotPrivateError, match="Too many open files"):
            await ensure_engine(EngineOptions(), command)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await ensure_engine(EngineOptions(), command)


async def test_engine_that_says_why_it_cannot_start_is_not_started_again(runtime):
    said = "import sys; print('no such model', file=sys.stderr); sys.exit(1)"
    with pytest.raises(EngineNotStarted, match="The engine did not start: no such model"):
        await ensure_engine(EngineOptions(), [sys.executable, "-c", said])
