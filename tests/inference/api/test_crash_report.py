"""How an engine ended is told to the next one, by its log and a mark, and only where it was not in order."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from inference.api import crash_report
from inference.server.transport import listen

STARTED = "2026-01-01 00:00:00,000 INFO __main__ engine started: version 0.1.0, process 7\n"


def died(tmp_path, said: str) -> str:
    (tmp_path / "engine.log").write_text(said)
    assert crash_report.begin(tmp_path, tmp_path / "engine.log") == "", "no mark: the one before ended in order"
    return crash_report.begin(tmp_path, tmp_path / "engine.log")


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("", crash_report.UNKNOWN),
        (STARTED, crash_report.UNKNOWN),
        (
            f"{STARTED}{crash_report.ENDED}SIGKILL\n",
            "it was killed by SIGKILL, as when the system runs out of memory",
        ),
        (f"{STARTED}Fatal Python error: Segmentation fault\n\nCurrent thread\n  File x\n", "Segmentation fault"),
        (f"{STARTED}Fatal Python error: Aborted\n\n{crash_report.ENDED}SIGABRT\n", "it was killed by SIGABRT"),
        (f"{STARTED}Traceback:\n  File x\nfilelock.LockError: it broke\n", "filelock.LockError: it broke"),
        (f"{STARTED}Traceback:\nValueError: of a request\n2026 INFO the next\n", crash_report.UNKNOWN),
        (f"{crash_report.ENDED}SIGKILL\n{STARTED}", crash_report.UNKNOWN),
    ],
)
def test_cause_is_what_the_log_says_since_the_engine_began(tmp_path, said, cause):
    assert died(tmp_path, said) == cause


def test_end_in_order_leaves_nothing_to_tell(tmp_path):
    log = tmp_path / "engine.log"
    crash_report.begin(tmp_path, log)
    crash_report.end(tmp_path)
    assert crash_report.begin(tmp_path, log) == ""


def test_machine_that_was_switched_off_is_no_crash(tmp_path):
    log = tmp_path / "engine.log"
    crash_report.begin(tmp_path, log)
    before = psutil.boot_time() - 1
    os.utime(tmp_path / crash_report.MARK, (before, before))
    assert crash_report.begin(tmp_path, log) == ""


def test_log_of_a_real_death_tells_its_cause(tmp_path):
    """As ``faulthandler`` writes it in this Python."""
    log = tmp_path / "engine.log"
    crash_report.begin(tmp_path, log)
    with log.open("wb") as stderr:
        code = "import faulthandler, os; faulthandler.enable(); os.abort()"
        status = subprocess.run([sys.executable, "-c", code], stderr=stderr).returncode
    crash_report.note(log, status)
    assert status == -6
    assert "killed by SIGABRT" in crash_report.begin(tmp_path, log)


def test_tail_begins_with_a_whole_line(tmp_path):
    (tmp_path / "log").write_text("first\nsecond\nthird\n")
    assert crash_report.tail(tmp_path / "log", 10) == "third\n"
    assert crash_report.tail(tmp_path / "none") == ""


def test_an_engine_that_can_not_listen_is_no_crash(runtime):
    """Whoever started it is told why there is none; the next window is told of nothing."""
    with listen(0) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "inference.server.process", "--tcp", port], capture_output=True, timeout=60
        )
    assert done.returncode == 1
    assert b"choose another one." in done.stderr
    assert crash_report.begin(runtime, runtime / "engine.log") == ""
