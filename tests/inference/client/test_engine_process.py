"""Start an engine: failed starts, concurrent starts and errors before the process listens."""

from __future__ import annotations

import asyncio
import resource
import sys

import psutil
import pytest

from inference.client import crash_report
from inference.client.crash_report import MAX_FAILED_STARTS
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
def starts(tmp_path):
    """A file with one ``x`` per started process."""
    file = tmp_path / "starts"
    file.write_text("")
    return file


def engine(starts, runtime, listens_at: int, connections: int = 1) -> list[str]:
    """Return the command of an engine that is killed before it listens, except at its ``listens_at``-th start.

    It ends after it has accepted ``connections``.
    """
    arguments = [starts, listens_at, runtime / "engine.sock", connections]
    return [sys.executable, "-c", KILLED + LISTENS, *map(str, arguments)]


async def test_engine_killed_before_it_listens_is_started_again(runtime, starts):
    path = await ensure_engine(EngineOptions(), engine(starts, runtime, listens_at=MAX_FAILED_STARTS))
    assert path == runtime / "engine.sock"
    assert starts.read_text() == "x" * MAX_FAILED_STARTS


async def test_concurrent_clients_start_one_process(runtime, starts):
    """Many editors start an engine at once after theirs has died."""
    command = engine(starts, runtime, listens_at=1, connections=4)
    await asyncio.gather(*(ensure_engine(EngineOptions(), command) for _ in range(4)))
    assert starts.read_text() == "x"


async def test_three_failed_starts_are_an_error_with_the_cause(runtime, starts):
    """For every client, as long as nothing changes."""
    command = engine(starts, runtime, listens_at=MAX_FAILED_STARTS + 1)
    for _ in range(3):
        with pytest.raises(EngineNotStarted, match="died 3 times while it loaded 'starter': it was killed by SIGKILL"):
            await ensure_engine(EngineOptions(), command)
    assert starts.read_text() == "x" * MAX_FAILED_STARTS


async def test_allow_one_more_permits_one_start(runtime, starts):
    command = engine(starts, runtime, listens_at=MAX_FAILED_STARTS + 2)
    with pytest.raises(EngineNotStarted):
        await ensure_engine(EngineOptions(), command)
    allow_one_more()
    with pytest.raises(EngineNotStarted):
        await ensure_engine(EngineOptions(), command)
    assert starts.read_text() == "x" * (MAX_FAILED_STARTS + 1)
    allow_one_more()
    await ensure_engine(EngineOptions(), command)


@pytest.mark.parametrize("change", ["settings", "pull"])
async def test_changed_settings_or_models_permit_a_start(runtime, starts, change, monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "models"))
    command = engine(starts, runtime, listens_at=MAX_FAILED_STARTS + 1)
    with pytest.raises(EngineNotStarted):
        await ensure_engine(EngineOptions(), command)
    if change == "pull":
        (tmp_path / "models" / "starter").mkdir(parents=True)
        (tmp_path / "models" / "starter" / MANIFEST).touch()
    await ensure_engine(EngineOptions(context=1000 if change == "settings" else None), command)


async def test_failed_starts_before_boot_do_not_count(runtime, monkeypatch):
    crash_report.count_start(runtime, "the same")
    assert crash_report.failed_starts(runtime, "the same") == 1
    monkeypatch.setattr(psutil, "boot_time", lambda: (runtime / crash_report.STARTS_FILE).stat().st_mtime + 1)
    assert crash_report.failed_starts(runtime, "the same") == 0


def test_damaged_record_counts_as_zero(runtime):
    for text in ("", "[]", '{"count": "x", "under": "u"}', '{"count": null, "under": "u"}'):
        (runtime / crash_report.STARTS_FILE).write_text(text)
        crash_report.allow_one_more(runtime)
        assert crash_report.failed_starts(runtime, "u") == 0


@pytest.mark.parametrize("name", ["engine.log", "engine.starting", "engine.starts"])
async def test_folder_in_place_of_a_file_is_an_error(runtime, starts, name):
    (runtime / name).mkdir()
    command = engine(starts, runtime, listens_at=1)
    with pytest.raises(NotPrivateError, match=rf"{name} is a folder, but a file belongs there\. Remove it\."):
        await ensure_engine(EngineOptions(), command)
    (runtime / name).rmdir()
    await ensure_engine(EngineOptions(), command)


@pytest.mark.parametrize("name", ["engine.sock", "engine.lock", "engine.running"])
async def test_folder_that_blocks_the_real_engine_is_an_error(runtime, name):
    (runtime / name).mkdir()
    with pytest.raises(EngineNotStarted, match=rf"did not start: \S*/{name} is a folder, but a file"):
        await ensure_engine(EngineOptions())
    assert "Traceback" not in log_path().read_text()


async def test_no_file_descriptor_left_is_an_error(runtime, starts):
    command, (soft, hard) = engine(starts, runtime, listens_at=1), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(NotPrivateError, match="Too many open files"):
            await ensure_engine(EngineOptions(), command)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await ensure_engine(EngineOptions(), command)


async def test_engine_that_exits_with_an_error_is_not_restarted(runtime):
    code = "import sys; print('no such model', file=sys.stderr); sys.exit(1)"
    with pytest.raises(EngineNotStarted, match="The engine did not start: no such model"):
        await ensure_engine(EngineOptions(), [sys.executable, "-c", code])
