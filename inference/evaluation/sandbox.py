"""Run a Python program that a model wrote, in a process of its own with little time, memory and nothing else.

**This is a limit, not a jail.** It keeps a program that loops, allocates, forks or writes without end from harming the
machine by accident. It does not keep one that means harm from the network or from files that this user may read or
write: for such, run the whole evaluation in a container or a virtual machine.

Disk space is limited in the program's own folder only. Nothing signals the growth of a folder, so its size is polled
every ``POLL`` seconds: a program may write more than the limit between two polls. The folder is removed afterwards.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Literal

from inference.evaluation import supervisor
from inference.evaluation.supervisor import REACHED_END

Result = Literal["passed", "failed", "timed out"]

POLL = 0.1
"""Seconds between two looks at the size of the program's folder."""
GRACE = 10.0
"""Seconds that the supervisor has to kill what is left of a program."""
ENTRY = 4096
"""Bytes that a file or folder counts at least: its inode and directory entry take space too."""


@dataclass(frozen=True, slots=True)
class Limits:
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


def run(program: str, limits: Limits | None = None) -> Result:
    """Whether ``program`` runs to its end within its limits; leaving early, by ``exit()`` too, is failing.

    It gets ``python -I``, an empty environment, no input, a folder of its own that is removed afterwards, and its
    output goes nowhere. When it ends, all processes that it started are killed, detached ones too.
    """
    limits = limits or Limits()
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


def _numbers(limits: Limits) -> tuple[int, ...]:
    seconds = int(-(-limits.seconds // 1)) + 1
    return seconds, limits.memory, limits.file, limits.processes, 0


def _result(process: subprocess.Popen[bytes], folder: Path, limits: Limits) -> Result:
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
