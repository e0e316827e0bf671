"""Run one program under resource limits, then kill every process it left behind. ``sandbox`` runs this as a script.

The arguments are the values of ``LIMITS`` and the program's path. SIGTERM ends the program early. This process is a
subreaper (prctl(2), PR_SET_CHILD_SUBREAPER): a descendant whose parent dies becomes its child, whatever sessions or
process groups it created. Killing children until none is left therefore leaves no process. Only the standard library
is imported: the script runs isolated.
"""

from __future__ import annotations

import ctypes
import os
import resource
import runpy
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LIMITS = ("RLIMIT_CPU", "RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_NPROC", "RLIMIT_CORE")
WATCHED = (signal.SIGCHLD, signal.SIGTERM)
SET_CHILD_SUBREAPER = 36
"""``PR_SET_CHILD_SUBREAPER`` of linux/prctl.h."""
REACHED_END = 73
"""Exit status of a program that ran to its end. One that calls ``exit()`` before its tests must not pass."""
FAILED = 1


def main(*numbers: str, path: str) -> int:
    """Supervise ``path``; return its exit status, or ``FAILED`` if a signal ended it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)  # before the fork, so that none is missed
    program = os.fork()
    if program == 0:
        os.setsid()  # a signal to its process group does not reach the supervisor
        _limit(numbers)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        sys.argv = [path]
        runpy.run_path(path, run_name="__main__")
        return REACHED_END
    try:
        return _status(program)
    finally:
        _kill_all()


def _limit(numbers: tuple[str, ...]) -> None:
    """Lower this process's limits permanently: a hard limit can't be raised again."""
    for name, number in zip(LIMITS, map(int, numbers), strict=True):
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        most = number if hard == resource.RLIM_INFINITY else min(number, hard)
        resource.setrlimit(kind, (most, most))


def _status(program: int) -> int:
    """Wait for the program to end, or for SIGTERM. Reap processes that it abandoned."""
    while signal.sigwait(WATCHED) != signal.SIGTERM:
        for pid, status in _reaped():
            if pid == program:
                return os.WEXITSTATUS(status) if os.WIFEXITED(status) else FAILED
    return FAILED


def _reaped() -> Iterator[tuple[int, int]]:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            yield ended


def _kill_all() -> None:
    """Kill all descendants. Stop them first, so that none forks while others are killed."""
    while True:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in _descendants():
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _descendants() -> list[int]:
    """Return the children of this process, their children and so on."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = stat.read_text("utf-8", "replace").rpartition(")")[2].split()[1]  # proc_pid_stat(5)
            children.setdefault(int(parent), []).append(int(stat.parent.name))
    found = list(children.get(os.getpid(), ()))
    for pid in found:
        found += children.get(pid, ())
    return found


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:-1], path=sys.argv[-1]))
