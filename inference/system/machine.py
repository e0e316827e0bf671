"""Memory, NVIDIA GPUs and CPU cores of this machine, without importing torch.

AMD and Apple GPUs are not detected: on such a machine only the CPU's memory counts.
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
"""Prints one line per GPU in PCI order; memory in MiB."""

MIB = 1 << 20

CPUS = Path("/sys/devices/system/cpu")
QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True)
class Device:
    """Memory of one device that a model can be loaded into.

    Attributes:
        kind: a CUDA GPU's memory or the CPU's.
        name: name for the user.
        total: total memory in bytes.
        free: unused memory in bytes.
        repacks: True for a CPU with AVX512_BF16, on which bitsandbytes rewrites NF4 weights in place at the first
            forward pass.
        uuid: a GPU's UUID, as in CUDA_VISIBLE_DEVICES.
        cuda_libraries: True for a CPU used by torch's CUDA build, which takes more memory than the CPU build.
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
    """Devices of a machine.

    Attributes:
        memory: the CPU's memory.
        gpus: GPUs that CUDA shows.
        note: why there is no GPU; None if there is one.
    """

    memory: Device
    gpus: tuple[Device, ...] = ()
    note: str | None = None

    @property
    def best(self) -> Device:
        """Return the device to load a model into: the GPU with the most free memory, else the CPU's memory."""
        return max(self.gpus, key=lambda gpu: gpu.free, default=self.memory)


def look() -> Machine:
    """Detect devices with ``nvidia-smi`` and psutil. A GPU that cannot be queried counts as absent."""
    try:
        gpus = _visible(_gpus())
        note = (
            None
            if gpus
            else "No GPU was found: CUDA_VISIBLE_DEVICES hides it, or nvidia-smi does not report its memory."
        )
    except FileNotFoundError:
        gpus, note = [], "No NVIDIA GPU was found: nvidia-smi is not installed. AMD and Apple GPUs are not supported."
    except (OSError, subprocess.SubprocessError) as problem:
        gpus, note = [], f"No GPU was found: nvidia-smi failed ({_reason(problem)})."
    return Machine(memory(), tuple(gpu for _, gpu in gpus), note)


def _gpus() -> list[tuple[str, Device | None]]:
    """Return every GPU by UUID, in PCI order; None for a GPU without reported memory (some share the CPU's)."""
    output = subprocess.run(
        GPU_QUERY, capture_output=True, text=True, timeout=20, check=True, cwd=NEUTRAL_FOLDER
    ).stdout
    return [_gpu(line) for line in output.splitlines() if line.strip()]


def _gpu(line: str) -> tuple[str, Device | None]:
    parts = [part.strip() for part in line.split(",")]
    total, free = parts[-2:] if len(parts) >= 4 else ("", "")
    if not (total.isdigit() and free.isdigit()):
        return parts[0], None
    return parts[0], Device("cuda", ", ".join(parts[1:-2]), int(total) * MIB, int(free) * MIB, uuid=parts[0])


def _visible(gpus: list[tuple[str, Device | None]]) -> list[tuple[str, Device]]:
    """Return the GPUs that CUDA shows.

    CUDA_VISIBLE_DEVICES lists indices or starts of UUIDs; the first invalid entry ends the list.
    """
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is not None:
        chosen = []
        for item in (item.strip() for item in wanted.split(",")):
            found = [g for i, g in enumerate(gpus) if item == str(i) or (item[:4] == "GPU-" and g[0].startswith(item))]
            if len(found) != 1:
                break
            chosen += found
        gpus = chosen
    return [(uuid, gpu) for uuid, gpu in gpus if gpu is not None]


def _reason(problem: Exception) -> str:
    """Return the first line of nvidia-smi's output, or the exception's text without output."""
    output = (getattr(problem, "stderr", None) or getattr(problem, "stdout", None) or "").strip()
    return output.splitlines()[0] if output else str(problem)


def memory(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Device:
    """Return the CPU's memory, limited by this process's control groups (a container's)."""
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
    """Return (limit, free) in bytes of this process's control groups (version 2), innermost first.

    Page cache counts as free.
    """
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


def usable_cores(cpus: Path = CPUS, quota: Path = QUOTA) -> int:
    """Return the number of physical cores that this process may use, within its container's CPU quota.

    More threads slow a matrix product down: siblings share a core's multipliers, and threads beyond the quota are
    suspended together. Sources: Linux's sysfs ABI (``topology/thread_siblings_list``), cgroup v2 (``cpu.max``:
    microseconds per period, or ``max``).
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = {_siblings(cpus, cpu) for cpu in allowed}
    return max(1, min(len(cores), _quota(quota)))


def _siblings(cpus: Path, cpu: int) -> str:
    """Return a CPU's list of siblings, which identifies its core, or its own number if that is unknown."""
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
