"""Detection of devices, with a script as nvidia-smi and folders as control groups."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from inference.system import machine

MIB = 1 << 20

TWO_GPUS = "GPU-aa1, NVIDIA GeForce RTX 4090, 24564, 23100\nGPU-bb2, NVIDIA RTX A6000, 49140, 48000\n"


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that puts an nvidia-smi with this output on PATH, as the only program."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def answers(output: str, code: int = 0) -> None:
        script = tmp_path / "nvidia-smi"
        script.write_text(f"#!{sys.executable}\nprint({output!r}, end='')\nraise SystemExit({code})\n")
        script.chmod(0o755)

    return answers


def test_best_device_is_the_gpu_with_the_most_free_memory(smi):
    smi(TWO_GPUS)
    detected = machine.look()
    small = machine.Device("cuda", "NVIDIA GeForce RTX 4090", 24_564 * MIB, 23_100 * MIB)
    large = machine.Device("cuda", "NVIDIA RTX A6000", 49_140 * MIB, 48_000 * MIB)
    assert detected.gpus == (small, large)
    assert detected.best == large
    assert detected.note is None


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("1", ["NVIDIA RTX A6000"]),
        ("1,0", ["NVIDIA RTX A6000", "NVIDIA GeForce RTX 4090"]),
        ("GPU-aa", ["NVIDIA GeForce RTX 4090"]),
        ("0,-1,1", ["NVIDIA GeForce RTX 4090"]),
        ("", []),
        ("-1", []),
    ],
)
def test_only_gpus_visible_to_cuda_count(smi, monkeypatch: pytest.MonkeyPatch, visible: str, names: list[str]):
    """nvidia-smi ignores CUDA_VISIBLE_DEVICES. CUDA stops at the first invalid entry."""
    smi(TWO_GPUS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    detected = machine.look()
    assert [gpu.name for gpu in detected.gpus] == names
    assert (detected.note is None) == bool(names)


def test_machine_without_nvidia_smi_uses_the_cpu(smi):
    detected = machine.look()
    assert detected.best == detected.memory
    assert (
        detected.note == "No NVIDIA GPU was found: nvidia-smi is not installed. AMD and Apple GPUs are not supported."
    )


def test_broken_driver_is_reported_with_its_message(smi):
    """The usual case after a kernel update."""
    smi("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\nSee the log.\n", code=9)
    assert machine.look().note == (
        "No GPU was found: nvidia-smi failed "
        "(NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.)."
    )


@pytest.mark.parametrize("output", ["GPU-cc3, NVIDIA GB10, [N/A], [N/A]\n", "No devices were found\n", ""])
def test_gpu_without_reported_memory_is_ignored(smi, output: str):
    """Some GPUs share the CPU's memory and report none of their own."""
    smi(output)
    detected = machine.look()
    assert detected.gpus == ()
    assert detected.note is not None and detected.note.startswith("No GPU was found")


def test_total_memory_is_psutils(tmp_path: Path):
    """Free memory changes, but never exceeds the total."""
    detected = machine.memory(tmp_path, tmp_path / "none")
    assert detected.total == psutil.virtual_memory().total
    assert 0 < detected.free <= detected.total


def group(folder: Path, limit: str, used: int, cache: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(limit + "\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\n")


def test_container_limit_counts_and_page_cache_is_free(tmp_path: Path):
    """The tightest control group on the path to the root decides."""
    own = tmp_path / "cgroup"
    own.write_text("1:name=systemd:/x\n0::/outer/inner\n")
    groups = tmp_path / "groups"
    group(groups / "outer", str(100 * MIB), 70 * MIB, 20 * MIB)
    group(groups / "outer" / "inner", "max", 60 * MIB, 0)
    detected = machine.memory(groups, own)
    assert (detected.total, detected.free) == (100 * MIB, 50 * MIB)


def test_detection_does_not_import_torch():
    """The list of models must print faster than torch imports."""
    code = "import sys, inference.commands.models_command; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("library", ["libtorch_cuda.so", "torch_cuda.dll", "libtorch_cpu.so"])
def test_cuda_build_of_torch_is_known_by_its_libraries(tmp_path: Path, library: str):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / library).touch()
    assert machine.has_cuda_libraries(tmp_path) == ("cuda" in library)


def test_memory_reports_the_installed_build_of_torch(tmp_path: Path):
    import torch

    assert machine.memory().cuda_libraries == (torch.version.cuda is not None)
