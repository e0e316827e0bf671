"""What this machine can hold a model in: its memory and its NVIDIA GPUs, asked without importing torch.

Knows nothing of models. AMD and Apple GPUs are not looked for: where one is the only GPU, memory is what is found.

How many threads arithmetic should use: physical cores, and only those this process may run on.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from inference.system.child_processes import NEUTRAL_FOLDER

GPU_QUERY = ["nvidia-smi", "--query-gpu=uuid,name,memory.total,memory.free", "--format=csv,noheader,nounits"]
"""One line a GPU, by PCI bus; memory in MiB."""

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Device:
    """Memory that a model can be loaded into.

    Attributes:
        kind: a CUDA GPU's memory or the CPU's.
        name: what a person reads.
        total: bytes in all.
        free: bytes that nothing uses now.
        repacks: a CPU on which bitsandbytes rewrites NF4 weights in place at the first forward pass (AVX512_BF16).
        uuid: of a GPU, as CUDA_VISIBLE_DEVICES takes it.
        cuda_libraries: a CPU for which torch's CUDA build computes, which takes more memory than its CPU build.
    """

    kind: Literal["cuda", "cpu"]
    name: str
    total: int
    free: int
    repacks: bool = False
    uuid: str = field(default="", compare=False)
    cuda_libraries: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found: ``memory`` always, GPUs perhaps, and in ``note`` a sentence where there are none."""

    memory: Device
    gpus: tuple[Device, ...] = ()
    note: str | None = None

    @property
    def best(self) -> Device:
        """Where a model would be loaded: the GPU with the most free memory, or the CPU's memory without a GPU."""
        return max(self.gpus, key=lambda gpu: gpu.free, default=self.memory)


def look() -> Machine:
    """Ask the operating system and ``nvidia-smi``; what can't be asked counts as absent, with a note saying so."""
    try:
        gpus = _visible(_gpus())
        note = None if gpus else "No GPU was found: CUDA_VISIBLE_DEVICES hides those there are, or they don't say."
    except FileNotFoundError:
        gpus, note = [], "No NVIDIA GPU was found: there is no nvidia-smi. AMD and Apple GPUs are not looked for."
    except (OSError, subprocess.SubprocessError) as problem:
        gpus, note = [], f"No GPU could be found: nvidia-smi does not work ({_reason(problem)})."
    return Machine(memory(), tuple(gpu for _, gpu in gpus), note)


def _gpus() -> list[tuple[str, Device | None]]:
    """Every GPU by UUID, in PCI order; None for one that does not tell its memory (some that share the CPU's)."""
    answer = subprocess.run(
        GPU_QUERY, capture_output=True, text=True, timeout=20, check=True, cwd=NEUTRAL_FOLDER
    ).stdout
    return [_gpu(line) for line in answer.splitlines() if line.strip()]


def _gpu(line: str) -> tuple[str, Device | None]:
    parts = [part.strip() for part in line.split(",")]
    total, free = parts[-2:] if len(parts) >= 4 else ("", "")
    if not (total.isdigit() and free.isdigit()):
        return parts[0], None
    return parts[0], Device("cuda", ", ".join(parts[1:-2]), int(total) * MIB, int(free) * MIB, uuid=parts[0])


def _visible(gpus: list[tuple[str, Device | None]]) -> list[tuple[str, Device]]:
    """Those CUDA would show: CUDA_VISIBLE_DEVICES lists indices or starts of UUIDs and ends at the first bad one."""
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is not None:
        chosen = []
        for item in (item.strip() for item in asked.split(",")):
            found = [g for i, g in enumerate(gpus) if item == str(i) or (item[:4] == "GPU-" and g[0].startswith(item))]
            if len(found) != 1:
                break
            chosen += found
        gpus = chosen
    return [(uuid, gpu) for uuid, gpu in gpus if gpu is not None]


def _reason(problem: Exception) -> str:
    """The first line of what nvidia-smi said, or the exception where it said nothing."""
    said = (getattr(problem, "stderr", None) or getattr(problem, "stdout", None) or "").strip()
    return said.splitlines()[0] if said else str(problem)


def memory(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Device:
    """The CPU's memory, less where a control group (a container's) allows less."""
    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    for limit, left in _limits(cgroups, own):
        total, free = min(total, limit), min(free, left)
    cuda = has_cuda_libraries(_torch_folder())
    return Device("cpu", "CPU memory", total, free, repacks=_has_avx512_bf16(), cuda_libraries=cuda)


def has_cuda_libraries(torch_folder: Path) -> bool:
    """Return whether the torch in ``torch_folder`` was built with CUDA, without importing it."""
    return any((torch_folder / "lib" / name).exists() for name in ("libtorch_cuda.so", "torch_cuda.dll"))


def _torch_folder() -> Path:
    """Return torch's folder; one that does not exist where torch is not installed."""
    spec = importlib.util.find_spec("torch")
    return Path(spec.origin).parent if spec and spec.origin else Path("torch-is-not-installed").absolute()


def _limits(cgroups: Path, own: Path) -> list[tuple[int, int]]:
    """(limit, bytes left) of this process's control groups (version 2), innermost first; page cache counts as left."""
    try:
        line = next(line for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return []
    path = cgroups / line.removeprefix("0::").lstrip("/")
    groups = [group for group in (path, *path.parents) if group == cgroups or cgroups in group.parents]
    return [limit for group in groups if (limit := _limit(group))]


def _limit(group: Path) -> tuple[int, int] | None:
    try:
        limit = int((group / "memory.max").read_text())  # "max" where there is none
        used = int((group / "memory.current").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return limit, max(0, limit - used + int(stat.get("inactive_file", 0)))


def _has_avx512_bf16() -> bool:
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False


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
