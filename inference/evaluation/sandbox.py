"""Run a Python program that a model wrote, in a process of its own with little time, memory and nothing else.

**This is a limit, not a jail.** It keeps a program that loops, allocates, forks or writes without end from harming the
machine by accident. It does not keep one that means harm from the network or from files that this user may read or
write: for such, run the whole evaluation in a container or a virtual machine.

Disk space is limited in the program's own folder only. Nothing signals the growth of a folder, so its size is polled
every ``POLL`` seconds: a program may write more than the limit between two polls. The folder is removed afterwards.

Runs the tests of tasks on the answers to them, several at a time, through the journal. Knows no model.
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
from inference.evaluation.answer_journal import AnswerJournal, key_of
from inference.evaluation.scoring import Result
from inference.evaluation.supervisor import REACHED_END
from inference.system.machine import usable_cores
from inference.system.progress import OnProgress

ProgramResult = Literal["passed", "failed", "timed out"]

POLL = 0.1
"""Seconds between two looks at the size of the program's folder."""
GRACE = 10.0
"""Seconds that the supervisor has to kill what is left of a program."""
ENTRY = 4096
"""Bytes that a file or folder counts at least: its inode and directory entry take space too."""


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one program may use.

    Attributes:
        seconds: of wall-clock time; of processor time as many, rounded up.
        memory: bytes of address space for each of its processes.
        file: bytes in one file.
        folder: bytes in all files of its folder; an entry counts as ``ENTRY`` bytes at least.
        processes: how many more this user may have while it runs; root is not held to it by the system.
    """

    seconds: float = 5.0
    memory: int = 1 << 30
    file: int = 1 << 20
    folder: int = 16 << 20
    processes: int = 0


def run_program(program: str, limits: SandboxLimits | None = None) -> ProgramResult:
    """Whether ``program`` runs to its end within its limits; leaving early, by ``exit()`` too, is failing.

    It gets ``python -I``, an empty environment, no input, a folder of its own that is removed afterwards, and its
    output goes nowhere. When it ends, all processes that it started are killed, detached ones too.
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
    """Return whether a folder holds more than ``limit`` bytes. One that can't be measured counts as if it did."""
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
            continue  # removed meanwhile
        except OSError:  # unreadable, or nested too deep to be named
            return True
    return total > limit


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have the supervisor kill what is left, and wait for it. One that does not end is killed itself."""
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


def executed(
    results: Sequence[Result], journal: AnswerJournal, tell: OnProgress, limits: SandboxLimits | None = None
) -> list[Result]:
    """The same results with what the tests say of the whole answer and of the part that a user would have seen.

    ``tell`` counts programs; equal ones run once. Every question must be a task.
    """
    limits = limits or SandboxLimits()
    pairs = [(_program(result, _whole(result)), _program(result, result.shown)) for result in results]
    programs = list(dict.fromkeys(program for pair in pairs for program in pair))
    passed: dict[str, bool] = {}
    with ThreadPoolExecutor(usable_cores()) as pool:
        runs = pool.map(lambda program: _run(program, journal, limits), programs)
        for done, (program, result) in enumerate(zip(programs, runs, strict=True), 1):
            passed[program] = result
            tell(done, len(programs))
    return [
        replace(result, passed=passed[whole], passed_shown=passed[shown])
        for result, (whole, shown) in zip(results, pairs, strict=True)
    ]


def _whole(result: Result) -> str:
    """All that the model wrote; what the stop rule ended is as it is shown."""
    return result.shown if result.ended == "rule" else result.answer


def _program(result: Result, answer: str) -> str:
    task = result.question.task
    assert task is not None, "only tasks have tests"
    return task.program(answer)


def _run(program: str, journal: AnswerJournal, limits: SandboxLimits) -> bool:
    key = key_of("run", program, limits.seconds, limits.memory)
    if (found := journal.recall(key, 1)) is None:
        found = [{"result": run_program(program, limits)}]
        journal.keep(key, found, ["program"])
    return found[0]["result"] == "passed"
