"""What is found on a machine: nvidia-smi stands in as a script, control groups as folders."""

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
    """Returns a function that puts an nvidia-smi on PATH, the only program there, which answers as told."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def answers(output: str, code: int = 0) -> None:
        script = tmp_path / "nvidia-smi"
        script.write_text(f"#!{sys.executable}\nprint({output!r}, end='')\nraise SystemExit({code})\n")
        script.chmod(0o755)

    return answers


def test_reads_every_gpu_and_takes_the_one_with_most_free_memory(smi):
    """A model goes onto one GPU; the emptiest fits most."""
    smi(TWO_GPUS)
    found = machine.look()
    small = machine.Device("cuda", "NVIDIA GeForce RTX 4090", 24_564 * MIB, 23_100 * MIB)
    large = machine.Device("cuda", "NVIDIA RTX A6000", 49_140 * MIB, 48_000 * MIB)
    assert found.gpus == (small, large)
    assert found.best == large
    assert found.note is None


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
def test_only_gpus_that_cuda_shows_are_counted(smi, monkeypatch: pytest.MonkeyPatch, visible: str, names: list[str]):
    """nvidia-smi ignores CUDA_VISIBLE_DEVICES, torch does not; CUDA stops at the first entry that is none."""
    smi(TWO_GPUS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = machine.look()
    assert [gpu.name for gpu in found.gpus] == names
    assert (found.note is None) == bool(names)


def test_without_nvidia_smi_says_so_and_takes_the_memory(smi):
    """Honest about what was not looked for."""
    found = machine.look()
    assert found.best == found.memory
    assert found.note == "No NVIDIA GPU was found: there is no nvidia-smi. AMD and Apple GPUs are not looked for."


def test_a_broken_driver_is_reported_in_its_own_words(smi):
    """The usual case after a kernel update."""
    smi("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\nSee the log.\n", code=9)
    assert machine.look().note == (
        "No GPU could be found: nvidia-smi does not work "
        "(NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.)."
    )


@pytest.mark.parametrize("answer", ["GPU-cc3, NVIDIA GB10, [N/A], [N/A]\n", "No devices were found\n", ""])
def test_an_answer_without_memory_is_no_gpu(smi, answer: str):
    """GPUs that share the CPU's memory tell none of their own; the CPU's is what is counted then."""
    smi(answer)
    found = machine.look()
    assert found.gpus == ()
    assert found.note is not None and found.note.startswith("No GPU was found")


def test_memory_is_what_the_system_says(tmp_path: Path):
    """Total is exact; free moves, but never beyond total."""
    found = machine.memory(tmp_path, tmp_path / "none")
    assert found.total == psutil.virtual_memory().total
    assert 0 < found.free <= found.total


def group(folder: Path, limit: str, used: int, cache: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(limit + "\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\n")


def test_a_containers_limit_counts_and_its_page_cache_is_free(tmp_path: Path):
    """The tightest group on the way to the root decides; the system would kill us there, not at the RAM's end."""
    own = tmp_path / "cgroup"
    own.write_text("1:name=systemd:/x\n0::/outer/inner\n")
    groups = tmp_path / "groups"
    group(groups / "outer", str(100 * MIB), 70 * MIB, 20 * MIB)
    group(groups / "outer" / "inner", "max", 60 * MIB, 0)
    found = machine.memory(groups, own)
    assert (found.total, found.free) == (100 * MIB, 50 * MIB)


def test_looking_does_not_import_torch():
    """The list of models is printed in a fraction of the time that torch takes to import."""
    code = "import sys, inference.commands.models_command; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("library", ["libtorch_cuda.so", "torch_cuda.dll", "libtorch_cpu.so"])
def test_build_of_torch_is_told_by_its_libraries(tmp_path: Path, library: str):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / library).touch()
    assert machine.has_cuda_libraries(tmp_path) == ("cuda" in library)


def test_memory_knows_the_build_of_the_installed_torch(tmp_path: Path):
    import torch

    assert machine.memory().cuda_libraries == (torch.version.cuda is not None)
