"""How many threads arithmetic should use: physical cores, and only those this process may run on."""

from __future__ import annotations

import os
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(cpus: Path = CPUS, quota: Path = QUOTA) -> int:
    """Physical cores among the allowed CPUs, at most what the container's quota pays for.

    Two threads on one core's siblings share its multipliers, and threads beyond a quota are put to sleep together:
    both slow a matrix product down. Sources: Linux's sysfs ABI (``topology/thread_siblings_list``), cgroup v2
    (``cpu.max``: microseconds allowed in a period, or ``max``).
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = {_siblings(cpus, cpu) for cpu in allowed}
    return max(1, min(len(cores), _quota(quota)))


def _siblings(cpus: Path, cpu: int) -> str:
    """What names the physical core of a CPU: the list of its threads, or its own number where that is not told."""
    try:
        return (cpus / f"cpu{cpu}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def _quota(path: Path) -> int:
    try:
        allowed, period = path.read_text().split()
        return int(allowed) // int(period)
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return os.cpu_count() or 1
