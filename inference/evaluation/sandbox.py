"""Run Python programs that a model wrote, each in a process with little time and memory. Also runs tasks' tests.

**This limits accidents; it is not a jail.** It keeps a program that loops, allocates, forks or writes without end from
harming the machine. It does not keep a malicious program from the network, or from files that this user may read or
write. For such programs, run the whole evaluation in a container or a virtual machine.

Disk space is limited only in the program's own folder, which is removed afterwards. There is no event for a folder's
growth, so its size is polled every ``POLL`` seconds; a program may exceed the limit between two polls.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Literal

from inference.evaluation import supervisor
from inference.evaluation.batch_journal import BatchJournal, key_of
from inference.evaluation.scoring import Result
from inference.evaluation.supervisor import REACHED_END
from inference.system.machine import usable_cores
from inference.system.terminal import OnProgress

ProgramResult = Literal["passed", "failed", "timed out"]

POLL = 0.1
"""Seconds between two measurements of the folder's size."""
GRACE = 10.0
"""Seconds that the supervisor has to kill the remaining processes."""
ENTRY = 4096
"""Minimum size of a file or folder in bytes: its inode and directory entry take space too."""


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Resource limits of one program.

    Attributes:
        seconds: wall-clock time. Processor time has the same limit, rounded up.
        memory: bytes of address space of each process.
        file: bytes in one file.
        folder: bytes in all files of its folder; an entry counts as at least ``ENTRY`` bytes.
        processes: additional processes of this user. The system does not apply this limit to root.
    """

    seconds: float = 5.0
    memory: int = 1 << 30
    file: int = 1 << 20
    folder: int = 16 << 20
    processes: int = 0


def run_program(program: str, limits: SandboxLimits | None = None) -> ProgramResult:
    """Run ``program``. It passes if it runs to its last line within its limits; ``exit()`` before that fails.

    It runs under ``python -I`` with an empty environment, no input, no output and a folder of its own that is removed
    afterwards. When it ends, all processes that it started are killed, detached ones too.
    """
    limits = limits or SandboxLimits()
    folder = Path(tempfile.mkdtemp(prefix="codellama-ls-eval-"))
    try:
        file = folder / "program.py"
        file.write_text(program, "utf-8", errors="replace")
        process = subprocess.Popen(
            [sys.executable, "-I", supervisor.__file__, *map(str, _numbers(limits)), str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={},
            start_new_session=True,
        )
        try:
            return _result(process, folder, limits)
        finally:
            _end(process)
    finally:
        _remove(folder)


def _numbers(limits: SandboxLimits) -> tuple[int, ...]:
    seconds = int(-(-limits.seconds // 1)) + 1
    return seconds, limits.memory, limits.file, limits.processes, 0


def _result(process: subprocess.Popen[bytes], folder: Path, limits: SandboxLimits) -> ProgramResult:
    deadline = time.monotonic() + limits.seconds
    while (left := deadline - time.monotonic()) > 0:
        with suppress(subprocess.TimeoutExpired):
            status = process.wait(min(left, POLL))
            return "passed" if status == REACHED_END and not _exceeds(folder, limits.folder) else "failed"
        if _exceeds(folder, limits.folder):
            return "failed"
    return "timed out"


def _exceeds(folder: Path, limit: int) -> bool:
    """Return True if a folder holds more than ``limit`` bytes, or can't be measured."""
    total, folders = 0, [folder]
    while folders and total <= limit:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    total += max(found.st_blocks * 512, ENTRY)
                    if stat.S_ISDIR(found.st_mode):
                        folders.append(Path(entry.path))
        except FileNotFoundError:
            continue  # removed in the meantime
        except OSError:  # unreadable, or nested too deep to be opened
            return True
    return total > limit


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let the supervisor kill the remaining processes and wait for it. Kill it if it does not end."""
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _remove(folder: Path) -> None:
    """Remove the folder; ``rm`` also removes trees that are nested too deep for ``rmtree``."""
    with suppress(OSError, RecursionError):
        rmtree(folder)
    if folder.exists():
        subprocess.run(["rm", "-rf", "--", str(folder)], check=False, stderr=subprocess.DEVNULL)  # noqa: S607


def run_tests(
    results: Sequence[Result], journal: BatchJournal, on_progress: OnProgress, limits: SandboxLimits | None = None
) -> list[Result]:
    """Run the tasks' tests on each whole completion and on its displayed part, several programs at a time.

    ``on_progress`` counts programs; equal ones run once. Every result must be of a task.
    """
    limits = limits or SandboxLimits()
    pairs = [(_program(result, _whole(result)), _program(result, result.displayed)) for result in results]
    programs = list(dict.fromkeys(program for pair in pairs for program in pair))
    passed: dict[str, bool] = {}
    with ThreadPoolExecutor(usable_cores()) as pool:
        runs = pool.map(lambda program: _passes(program, journal, limits), programs)
        for done, (program, result) in enumerate(zip(programs, runs, strict=True), 1):
            passed[program] = result
            on_progress(done, len(programs))
    return [
        replace(result, passed=passed[whole], passed_shown=passed[displayed])
        for result, (whole, displayed) in zip(results, pairs, strict=True)
    ]


def _whole(result: Result) -> str:
    """Return all text of the model; one that the stop rule ended is as an editor displays it."""
    return result.displayed if result.ended == "rule" else result.completion


def _program(result: Result, completion: str) -> str:
    task = result.case.task
    assert task is not None, "only tasks have tests"
    return task.program(completion)


def _passes(program: str, journal: BatchJournal, limits: SandboxLimits) -> bool:
    key = key_of("run", program, limits.seconds, limits.memory)
    if (rows := journal.recall(key, 1)) is None:
        rows = [{"result": run_program(program, limits)}]
        journal.keep(key, rows, ["program"])
    return rows[0]["result"] == "passed"
