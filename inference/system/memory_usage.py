"""How much memory this process takes, on the CPU or on a GPU. Knows no models and no plans.

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

EVERY = 0.02
"""Seconds between two looks at memory while something runs."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of memory that is the process's own (anonymous, or a GPU's), and of a checkpoint's files mapped into it."""

    own: int
    mapped: int = 0


class Probe(Protocol):
    """Looks at one kind of memory."""

    def now(self) -> Usage:
        """What is taken now."""
        ...

    def own(self) -> int:
        """The same without what is mapped; quick."""
        ...


class HostProbe:
    """This process's memory, by the kernel's account. Raises OSError where there is no ``/proc``."""

    def __init__(self, folder: Path, proc: Path = Path("/proc/self")) -> None:
        self._folder = str(folder.resolve()) + "/"
        self._proc = proc
        if not (proc / "smaps_rollup").exists():
            raise OSError("Memory can be measured on Linux only, and here is no /proc/self/smaps_rollup.")

    def now(self) -> Usage:
        """Anonymous pages, and pages of files below the checkpoint's folder."""
        rollup = (self._proc / "smaps_rollup").read_text()
        return Usage(_kib("Anonymous", rollup), self._mapped())

    def own(self) -> int:
        status = (self._proc / "status").read_text()
        return _kib("RssAnon", status)

    def _mapped(self) -> int:
        """Resident pages of mappings whose path, the last column of their first line, lies in the folder."""
        parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", (self._proc / "smaps").read_text(), flags=re.MULTILINE)
        ours = (part for part in parts if f" {self._folder}" in part.partition("\n")[0])
        return sum(_kib("Rss", part) for part in ours)


class GpuProbe:
    """What this process takes of a GPU: all that is used, less what was used when ``before`` was looked at."""

    def __init__(self, before: Device) -> None:
        self._free_before = before.free

    def now(self) -> Usage:
        return Usage(self.own())

    def own(self) -> int:
        import torch

        return self._free_before - torch.cuda.mem_get_info()[0]


class Peak:
    """Looks every 20 ms while its block runs; ``bytes`` is the most that was seen. Shorter peaks can escape it."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(EVERY):
            self.bytes = max(self.bytes, self._probe.own())


def _kib(name: str, text: str) -> int:
    """The bytes of a line such as ``Rss:   12 kB``."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, flags=re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
