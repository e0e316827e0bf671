"""Usable cores: physical cores within the process's affinity and its container's quota."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inference.system.machine import usable_cores


@pytest.fixture
def cpus(tmp_path: Path) -> Path:
    """Eight CPUs on four cores: n and n + 4 are siblings."""
    for cpu in range(8):
        topology = tmp_path / f"cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    return tmp_path


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system has no CPU affinity")
@pytest.mark.parametrize(
    ("allowed", "quota", "cores"),
    [
        (range(8), "max 100000", 4),
        ({0, 4}, "max 100000", 1),
        ({0, 1, 5}, "max 100000", 2),
        (range(8), "200000 100000", 2),
        (range(8), "50000 100000", 1),
        (range(8), None, 4),
    ],
)
def test_usable_cores(
    cpus: Path, monkeypatch: pytest.MonkeyPatch, allowed: range | set[int], quota: str | None, cores: int
) -> None:
    """Siblings count once; a quota of less than one CPU still leaves one thread."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(allowed))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    if quota is not None:
        (cpus / "cpu.max").write_text(quota + "\n")
    assert usable_cores(cpus, cpus / "cpu.max") == cores


def test_every_cpu_is_a_core_if_siblings_are_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert usable_cores(tmp_path, tmp_path / "cpu.max") == 3
