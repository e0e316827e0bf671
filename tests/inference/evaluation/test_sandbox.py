"""The sandbox with real programs: results, resource limits, and the removal of processes and files."""

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
def test_only_a_program_that_reaches_its_end_passes(program, result):
    """A program must not pass by exiting before its tests; there is no input."""
    assert run_program(program, SHORT) == result


def test_endless_loop_times_out():
    started = time.monotonic()
    assert run_program("while True: pass", SandboxLimits(seconds=1.0)) == "timed out"
    assert time.monotonic() - started < 10


def test_sleeping_program_times_out():
    assert run_program("import time; time.sleep(60)", SandboxLimits(seconds=1.0)) == "timed out"


def test_memory_is_limited():
    assert run_program("x = bytearray(1 << 30)", SHORT) == "failed"
    assert run_program("x = bytearray(1 << 26)", SHORT) == "passed"


def test_file_size_is_limited_and_the_folder_removed(tmp_path):
    record = tmp_path / "folder"
    write = f"import os; open({str(record)!r}, 'w').write(os.getcwd())"
    assert run_program(f"{write}; open('x', 'wb').write(bytes(1 << 10))", SHORT) == "passed"
    assert not Path(record.read_text()).exists()
    assert run_program("open('x', 'wb').write(bytes(1 << 20))", SHORT) == "failed"


def test_users_environment_is_not_passed_on(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    assert run_program("import os; assert not {'SECRET_TOKEN', 'HOME', 'PATH'} & set(os.environ)", SHORT) == "passed"


def test_process_left_behind_is_killed(tmp_path):
    """Only root may fork despite the limit; no child may outlive the program."""
    record = tmp_path / "pid"
    left = f"import os, time\npid = os.fork()\nif pid == 0: time.sleep(60)\nopen({str(record)!r}, 'w').write(str(pid))"
    result = run_program(left, SHORT)
    assert result == ("passed" if os.geteuid() == 0 else "failed")
    if result == "passed":
        deadline = time.monotonic() + 10
        while running(int(record.read_text())):
            assert time.monotonic() < deadline, "the child still runs"


DETACHED = """
import os, time
parent, child = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        open(RECORD, "w").write(str(os.getpid()))
        os.close(child)
        time.sleep(60)
    os._exit(0)
os.close(child)
os.read(parent, 1)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may fork inside the sandbox")
@pytest.mark.parametrize("ending", ["", "raise SystemExit(1)", "time.sleep(60)"])
def test_detached_descendant_is_killed(tmp_path, ending):
    """After two calls of ``setsid`` it is in another process group and session."""
    record = tmp_path / "pid"
    run_program(DETACHED.replace("RECORD", repr(str(record))) + ending, SHORT)
    assert not running(int(record.read_text()))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may fork inside the sandbox")
def test_fork_bomb_leaves_no_process(tmp_path):
    bomb = "import os\nfor _ in range(7): os.fork()\nos.setsid() if os.getpid() % 2 else None\n"
    record = f"open({str(tmp_path)!r} + '/' + str(os.getpid()), 'w').close()\nimport time; time.sleep(60)"
    run_program(bomb + record, SandboxLimits(seconds=2.0))
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
    ids=["large files", "empty files", "nested folders", "ends before the next poll"],
)
def test_folder_size_is_limited(tmp_path, monkeypatch, program):
    """The file size limit does not bound many files."""
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
    """Return True for a process that exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
