"""Crash reports: the next engine reports a crash by the log and the mark, but no graceful shutdown."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from inference.client import crash_report
from inference.server.transport import listen

STARTED = "2026-01-01 00:00:00,000 INFO __main__ engine started: version 0.1.0, process 7\n"


def crash_cause(tmp_path, logged: str) -> str:
    (tmp_path / "engine.log").write_text(logged)
    assert crash_report.mark_running(tmp_path, tmp_path / "engine.log") == "", "no mark: no crash"
    return crash_report.mark_running(tmp_path, tmp_path / "engine.log")


@pytest.mark.parametrize(
    ("logged", "cause"),
    [
        ("", crash_report.UNKNOWN),
        (STARTED, crash_report.UNKNOWN),
        (
            f"{STARTED}{crash_report.ENDED}SIGKILL\n",
            "it was killed by SIGKILL, as when the system runs out of memory",
        ),
        (f"{STARTED}Fatal Python error: Segmentation fault\n\nCurrent thread\n  File x\n", "Segmentation fault"),
        (f"{STARTED}Fatal Python error: Aborted\n\n{crash_report.ENDED}SIGABRT\n", "it was killed by SIGABRT"),
        (
            f"{STARTED}Fatal Python error: Segmentation fault\n\n{crash_report.ENDED}SIGBUS\n",
            "it was killed by SIGSEGV",
        ),
        (f"{STARTED}Traceback:\n  File x\nfilelock.LockError: it broke\n", "filelock.LockError: it broke"),
        (f"{STARTED}Traceback:\nValueError: of a request\n2026 INFO the next\n", crash_report.UNKNOWN),
        (f"{crash_report.ENDED}SIGKILL\n{STARTED}", crash_report.UNKNOWN),
    ],
)
def test_cause_comes_from_the_last_engines_log(tmp_path, logged, cause):
    assert crash_cause(tmp_path, logged) == cause


def test_graceful_shutdown_is_no_crash(tmp_path):
    log = tmp_path / "engine.log"
    crash_report.mark_running(tmp_path, log)
    crash_report.mark_ended(tmp_path)
    assert crash_report.mark_running(tmp_path, log) == ""


def test_mark_from_before_boot_is_no_crash(tmp_path):
    log = tmp_path / "engine.log"
    crash_report.mark_running(tmp_path, log)
    before = psutil.boot_time() - 1
    os.utime(tmp_path / crash_report.CRASH_MARK, (before, before))
    assert crash_report.mark_running(tmp_path, log) == ""


def test_cause_of_a_real_abort_is_found(tmp_path):
    """The log is that of ``faulthandler`` in this Python."""
    log = tmp_path / "engine.log"
    crash_report.mark_running(tmp_path, log)
    with log.open("wb") as stderr:
        code = "import faulthandler, os; faulthandler.enable(); os.abort()"
        status = subprocess.run([sys.executable, "-c", code], stderr=stderr).returncode
    crash_report.log_exit(log, status)
    assert status == -6
    assert "killed by SIGABRT" in crash_report.mark_running(tmp_path, log)


def test_tail_starts_with_a_whole_line(tmp_path):
    (tmp_path / "log").write_text("first\nsecond\nthird\n")
    assert crash_report.tail(tmp_path / "log", 10) == "third\n"
    assert crash_report.tail(tmp_path / "none") == ""


def test_engine_that_cannot_listen_is_no_crash(runtime):
    """Its own error goes to the client that started it; the next engine reports nothing."""
    with listen(0) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "inference.server.process", "--tcp", port], capture_output=True, timeout=60
        )
    assert done.returncode == 1
    assert b"Choose another port." in done.stderr
    assert crash_report.mark_running(runtime, runtime / "engine.log") == ""
