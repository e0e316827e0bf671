"""Measure the memory that this process uses, on the CPU or on a GPU.

Source: Linux' ``proc_pid_smaps(5)`` and ``proc_pid_statm(5)``.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from inference.system.machine import Device

INTERVAL = 0.02
"""Seconds between two samples."""


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """Memory of this process in bytes.

    Attributes:
        own: anonymous memory, or a GPU's.
        mapped: resident pages of a checkpoint's mapped files.
    """

    own: int
    mapped: int = 0


class MemoryProbe(Protocol):
    """Measures one kind of memory."""

    def now(self) -> MemoryUsage:
        """Return the current usage."""
        ...

    def own(self) -> int:
        """Return the current usage without mapped files, in bytes. Fast."""
        ...


class HostProbe:
    """This process's CPU memory, from ``/proc``. Raises OSError on systems without it."""

    def __init__(self, folder: Path, proc: Path = Path("/proc/self")) -> None:
        self._folder = str(folder.resolve()) + "/"
        self._proc = proc
        if not (proc / "smaps_rollup").exists():
            raise OSError("Memory can be measured on Linux only: /proc/self/smaps_rollup is missing.")

    def now(self) -> MemoryUsage:
        """Return anonymous memory and mapped files of the checkpoint's folder."""
        rollup = (self._proc / "smaps_rollup").read_text()
        return MemoryUsage(_kib("Anonymous", rollup), self._mapped())

    def own(self) -> int:
        status = (self._proc / "status").read_text()
        return _kib("RssAnon", status)

    def _mapped(self) -> int:
        """Sum the resident pages of mappings whose path (last column of the first line) is in the folder."""
        parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", (self._proc / "smaps").read_text(), flags=re.MULTILINE)
        ours = (part for part in parts if f" {self._folder}" in part.partition("\n")[0])
        return sum(_kib("Rss", part) for part in ours)


class GpuProbe:
    """GPU memory that this process has taken since ``before`` was measured."""

    def __init__(self, before: Device) -> None:
        self._free_before = before.free

    def now(self) -> MemoryUsage:
        return MemoryUsage(self.own())

    def own(self) -> int:
        import torch

        return self._free_before - torch.cuda.mem_get_info()[0]


class PeakMemory:
    """Sample memory every 20 ms while the block runs. ``bytes`` is the maximum; shorter peaks can be missed."""

    def __init__(self, probe: MemoryProbe) -> None:
        self._probe = probe
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(INTERVAL):
            self.bytes = max(self.bytes, self._probe.own())


def _kib(name: str, text: str) -> int:
    """Return the bytes of a line such as ``Rss:   12 kB``."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, flags=re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
