"""Memory of a process, read from ``/proc`` to the byte."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from inference.system.memory_usage import HostProbe, MemoryUsage, PeakMemory

SMAPS = """\
5600-5700 r-xp 00000000 08:01 11  /usr/bin/python3
Size:                 64 kB
Rss:                  32 kB
7f00-7f10 r--p 00000000 08:01 12  {folder}/model-00001.safetensors
Rss:                 400 kB
Pss:                 200 kB
7f10-7f20 rw-p 00000000 00:00 0
Rss:                 999 kB
7f20-7f30 r--p 00000000 08:01 13  {folder}/deep/model-00002.safetensors
Rss:                  24 kB
7f30-7f40 r--p 00000000 08:01 14  {folder}-other/model-00001.safetensors
Rss:                  11 kB
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    folder = tmp_path / "proc"
    folder.mkdir()
    (folder / "smaps_rollup").write_text(
        "5600-ffff ---p 00000000 00:00 0  [rollup]\nRss:  2000 kB\nAnonymous:  999 kB\n"
    )
    (folder / "smaps").write_text(SMAPS.format(folder=tmp_path / "model"))
    (folder / "status").write_text("VmRSS:\t    2000 kB\nRssAnon:\t     1000 kB\nRssFile:\t    1000 kB\n")
    return folder


def test_anonymous_and_checkpoint_pages_are_counted_apart(tmp_path: Path, proc: Path) -> None:
    """Pages of libraries and of other checkpoints do not count."""
    assert HostProbe(tmp_path / "model", proc).now() == MemoryUsage(own=999 * 1024, mapped=424 * 1024)


def test_own_memory_is_the_kernels_counter(tmp_path: Path, proc: Path) -> None:
    assert HostProbe(tmp_path / "model", proc).own() == 1000 * 1024


def test_system_without_proc_is_an_error(tmp_path: Path) -> None:
    """macOS has no ``/proc``."""
    with pytest.raises(OSError, match="Memory can be measured on Linux only"):
        HostProbe(tmp_path, tmp_path)


class ScriptedProbe:
    """A process that grows and shrinks from sample to sample."""

    def __init__(self) -> None:
        self.samples = iter([3, 9, 5])
        self.exhausted = threading.Event()

    def own(self) -> int:
        value = next(self.samples, 0)
        if value == 0:
            self.exhausted.set()
        return value

    def now(self) -> MemoryUsage:
        return MemoryUsage(0)


def test_peak_is_the_largest_sample() -> None:
    probe = ScriptedProbe()
    with PeakMemory(probe) as peak:
        assert probe.exhausted.wait(10)
    assert peak.bytes == 9
