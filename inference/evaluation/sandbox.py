"""Run a Python program that a model wrote, in a process of its own with little time, memory and nothing else.

**This is a limit, not a jail.** It keeps a program that loops, allocates, forks or writes without end from harming the
machine by accident. It does not keep one that means harm from the network or from files that this user may read or
write: for such, run the whole evaluation in a container or a virtual machine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Result = Literal["passed", "failed", "timed out"]

REACHED_END = 73
"""The exit status that says so: an answer that calls ``exit()`` before the tests must not pass them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use.

    Attributes:
        seconds: of wall-clock time; of processor time as many, rounded up.
        memory: bytes of address space for each of its processes.
        file: bytes in one file.
        processes: how many more this user may have while it runs; root is not held to it by the system.
    """

    seconds: float = 5.0
    memory: int = 1 << 30
    file: int = 1 << 20
    processes: int = 0


def run(program: str, limits: Limits | None = None) -> Result:
    """Whether ``program`` runs to its end within its limits; leaving early, by ``exit()`` too, is failing.

    It gets ``python -I``, an empty environment, no input, a folder of its own that is removed afterwards, and its
    output goes nowhere. When it ends, whatever it has left running in its process group is killed.
    """
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="codellama-ls-eval-", ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "program.py"
        file.write_text(program, "utf-8", errors="replace")
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, *map(str, _numbers(limits)), str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={},
            start_new_session=True,
        )
        try:
            return "passed" if process.wait(limits.seconds) == REACHED_END else "failed"
        except subprocess.TimeoutExpired:
            return "timed out"
        finally:
            _end(process)


_START = """
import resource, runpy, sys
*numbers, path = sys.argv[1:]
names = ("RLIMIT_CPU", "RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_NPROC", "RLIMIT_CORE")
for name, number in zip(names, map(int, numbers)):
    kind = getattr(resource, name)
    hard = resource.getrlimit(kind)[1]
    most = number if hard == resource.RLIM_INFINITY else min(number, hard)
    resource.setrlimit(kind, (most, most))
sys.argv = [path]
runpy.run_path(path, run_name="__main__")
sys.exit({status})
""".replace("{status}", str(REACHED_END))
"""What the new process does first: it limits itself, and what it can't raise again holds for the program."""


def _numbers(limits: Limits) -> tuple[int, ...]:
    seconds = int(-(-limits.seconds // 1)) + 1
    return seconds, limits.memory, limits.file, limits.processes, 0


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group, which outlives its first process where that left others behind."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
