"""Programs of all kinds, run for real: what ends well, what does not, and what must not go on."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from inference.evaluation.sandbox import Limits, run

SHORT = Limits(seconds=3.0, memory=256 << 20, file=1 << 16)


@pytest.mark.parametrize(
    ("program", "result"),
    [
        ("assert 1 + 1 == 2", "passed"),
        ("import math, re, hashlib, collections, typing", "passed"),
        ("assert 1 + 1 == 3", "failed"),
        ("def f(:", "failed"),
        ("\ud800", "failed"),
        ("import sys; sys.exit(0)", "failed"),
        ("import os; os._exit(0)", "failed"),
        ("input()", "failed"),
    ],
)
def test_only_what_runs_to_its_end_passes(program, result):
    """Leaving early is no way to pass tests that come later, and nobody answers questions."""
    assert run(program, SHORT) == result


def test_endless_loop_is_ended():
    started = time.monotonic()
    assert run("while True: pass", Limits(seconds=1.0)) == "timed out"
    assert time.monotonic() - started < 10


def test_sleeping_takes_no_processor_time_and_is_ended_all_the_same():
    assert run("import time; time.sleep(60)", Limits(seconds=1.0)) == "timed out"


def test_memory_is_limited():
    assert run("x = bytearray(1 << 30)", SHORT) == "failed"
    assert run("x = bytearray(1 << 26)", SHORT) == "passed"


def test_files_are_limited_and_gone_afterwards(tmp_path):
    place = tmp_path / "where"
    tell = f"import os; open({str(place)!r}, 'w').write(os.getcwd())"
    assert run(f"{tell}; open('x', 'wb').write(bytes(1 << 10))", SHORT) == "passed"
    assert not Path(place.read_text()).exists()
    assert run("open('x', 'wb').write(bytes(1 << 20))", SHORT) == "failed"


def test_environment_and_home_of_the_user_are_not_told(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    assert run("import os; assert not {'SECRET_TOKEN', 'HOME', 'PATH'} & set(os.environ)", SHORT) == "passed"


def test_process_left_behind_is_killed(tmp_path):
    """Root may start others whatever the limit; nobody's may outlive the program."""
    place = tmp_path / "pid"
    left = f"import os, time\npid = os.fork()\nif pid == 0: time.sleep(60)\nopen({str(place)!r}, 'w').write(str(pid))"
    result = run(left, SHORT)
    assert result == ("passed" if os.geteuid() == 0 else "failed")
    if result == "passed":
        deadline = time.monotonic() + 10
        while running(int(place.read_text())):
            assert time.monotonic() < deadline, "it still runs"


def running(pid: int) -> bool:
    """Whether there is such a process, other than one whose parent has not asked how it ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
