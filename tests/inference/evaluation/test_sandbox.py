"""Programs of all kinds, run for real: what ends well, what does not, and what must not go on."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from inference.evaluation.sandbox import SandboxLimits, run_program

SHORT = SandboxLimits(seconds=3.0, memory=256 << 20, file=1 << 16)


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
    assert run_program(program, SHORT) == result


def test_endless_loop_is_ended():
    started = time.monotonic()
    assert run_program("while True: pass", SandboxLimits(seconds=1.0)) == "timed out"
    assert time.monotonic() - started < 10


def test_sleeping_takes_no_processor_time_and_is_ended_all_the_same():
    assert run_program("import time; time.sleep(60)", SandboxLimits(seconds=1.0)) == "timed out"


def test_memory_is_limited():
    assert run_program("x = bytearray(1 << 30)", SHORT) == "failed"
    assert run_program("x = bytearray(1 << 26)", SHORT) == "passed"


def test_files_are_limited_and_gone_afterwards(tmp_path):
    place = tmp_path / "where"
    tell = f"import os; open({str(place)!r}, 'w').write(os.getcwd())"
    assert run_program(f"{tell}; open('x', 'wb').write(bytes(1 << 10))", SHORT) == "passed"
    assert not Path(place.read_text()).exists()
    assert run_program("open('x', 'wb').write(bytes(1 << 20))", SHORT) == "failed"


def test_environment_and_home_of_the_user_are_not_told(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    assert run_program("import os; assert not {'SECRET_TOKEN', 'HOME', 'PATH'} & set(os.environ)", SHORT) == "passed"


def test_process_left_behind_is_killed(tmp_path):
    """Root may start others whatever the limit; nobody's may outlive the program."""
    place = tmp_path / "pid"
    left = f"import os, time\npid = os.fork()\nif pid == 0: time.sleep(60)\nopen({str(place)!r}, 'w').write(str(pid))"
    result = run_program(left, SHORT)
    assert result == ("passed" if os.geteuid() == 0 else "failed")
    if result == "passed":
        deadline = time.monotonic() + 10
        while running(int(place.read_text())):
            assert time.monotonic() < deadline, "it still runs"


DETACHED = """
import os, time
parent, child = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        open(PLACE, "w").write(str(os.getpid()))
        os.close(child)
        time.sleep(60)
    os._exit(0)
os.close(child)
os.read(parent, 1)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may fork inside the sandbox")
@pytest.mark.parametrize("ending", ["", "raise SystemExit(1)", "time.sleep(60)"])
def test_detached_descendant_is_killed_when_run_returns(tmp_path, ending):
    """``setsid`` twice leaves both the process group and the session."""
    place = tmp_path / "pid"
    run_program(DETACHED.replace("PLACE", repr(str(place))) + ending, SHORT)
    assert not running(int(place.read_text()))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may fork inside the sandbox")
def test_fork_bomb_leaves_no_process(tmp_path):
    bomb = "import os\nfor _ in range(7): os.fork()\nos.setsid() if os.getpid() % 2 else None\n"
    tell = f"open({str(tmp_path)!r} + '/' + str(os.getpid()), 'w').close()\nimport time; time.sleep(60)"
    run_program(bomb + tell, SandboxLimits(seconds=2.0))
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert len(pids) > 1
    assert [pid for pid in pids if running(pid)] == []


SMALL_FOLDER = SandboxLimits(seconds=30.0, memory=256 << 20, file=1 << 20, folder=4 << 20)


@pytest.mark.parametrize(
    "program",
    [
        "for n in range(10**6): open(str(n), 'wb').write(bytes(1 << 19))",
        "for n in range(10**6): open(str(n), 'wb').close()",
        "import os\nwhile True: os.mkdir('x'); os.chdir('x')",
        "for n in range(16): open(str(n), 'wb').write(bytes(1 << 19))",
    ],
    ids=["large files", "empty files", "nested folders", "ends before it is looked at"],
)
def test_total_size_of_its_folder_is_limited(tmp_path, monkeypatch, program):
    """The limit of a single file says nothing about many of them."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    started = time.monotonic()
    assert run_program(program, SMALL_FOLDER) == "failed"
    assert time.monotonic() - started < SMALL_FOLDER.seconds
    assert list(tmp_path.iterdir()) == []


def test_ordinary_files_are_within_the_limit():
    program = "import os\nfor n in range(100): open(str(n), 'wb').write(bytes(1 << 10))"
    assert run_program(program, SMALL_FOLDER) == "passed"


def running(pid: int) -> bool:
    """Whether there is such a process, other than one whose parent has not asked how it ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
