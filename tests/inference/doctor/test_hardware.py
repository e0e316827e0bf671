"""Checks of GPU, kernels, memory and disk, from facts of the probe and of nvidia-smi."""

from __future__ import annotations

import sys

import pytest
from fakes.tiny_llama import save_checkpoint

from inference.client.engine_process import EngineOptions
from inference.commands import pull_command
from inference.doctor import hardware
from inference.models import store
from inference.system.machine import Device, Machine

GIB = 1 << 30
MEMORY = Device("cpu", "CPU memory", 16 * GIB, 8 * GIB)
CARD = Device("cuda", "NVIDIA A10", 24 * GIB, 20 * GIB)
TORCH_GPU = {"name": "NVIDIA A10", "capability": [8, 6]}
NO_GPU, WITH_GPU = Machine(MEMORY, (), "No NVIDIA GPU was found."), Machine(MEMORY, (CARD,))


def facts(**changes):
    torch = {"version": "2.13.0", "cuda": "12.8", "gpus": []}
    known = {"torch": torch, "four_bits": "", "library": "", "plan": {"summary": "needs 1 MiB", "to_write": 0}}
    return {**known, **changes}


def torch(cuda: str = "12.8", *gpus):
    return {"version": "2.13.0", "cuda": cuda, "gpus": list(gpus)}


@pytest.mark.parametrize(
    ("machine", "torch_facts", "verdict", "text"),
    [
        (NO_GPU, torch(), "ok", "No NVIDIA GPU was found. Models run on the CPU."),
        (WITH_GPU, torch("12.8", TORCH_GPU), "ok", "NVIDIA A10 (8.6), driver 550.1, 20.00 GiB free of 24.00 GiB"),
        (WITH_GPU, torch(""), "problem", "torch 2.13.0 was built without CUDA, so NVIDIA A10 is not used"),
        (WITH_GPU, torch(), "problem", "torch 2.13.0 (CUDA 12.8) can't use NVIDIA A10 with the driver 550.1"),
        (NO_GPU, {"error": "ImportError: no torch"}, "problem", "it can't be imported (ImportError: no torch)"),
    ],
)
def test_torch_must_be_able_to_use_the_gpu(machine, torch_facts, verdict, text):
    (check,) = hardware.check_gpu(machine, "550.1", facts(torch=torch_facts))
    assert (check.verdict, check.text) == (verdict, text)
    assert bool(check.advice) == (verdict != "ok")


@pytest.mark.parametrize(
    ("torch_facts", "files", "named", "advice"),
    [
        (torch("12.8", TORCH_GPU), [], "NVIDIA A10", "Make sure that nvidia-smi"),
        (torch(), ["dev/nvidia0"], "found by /dev/nvidia0", "Make sure that nvidia-smi"),
        (
            torch(""),
            ["proc/driver/nvidia/version"],
            "found by /proc/driver/nvidia/version",
            "Make sure that nvidia-smi",
        ),
        (torch(""), ["dev/kfd"], "found by /dev/kfd", "Only NVIDIA GPUs are supported"),
        (
            torch("", {"name": "AMD Instinct", "capability": [9, 0]}),
            ["dev/kfd"],
            "AMD Instinct",
            "Only NVIDIA GPUs are supported",
        ),
    ],
)
def test_gpu_unknown_to_nvidia_smi_is_a_warning(torch_facts, files, named, advice, tmp_path, monkeypatch):
    """Otherwise the user would look elsewhere for the cause of slow completions."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    (check,) = hardware.check_gpu(NO_GPU, "", facts(torch=torch_facts), hardware.gpu_files(tmp_path))
    text = f"the GPU ({named}) is not used: No NVIDIA GPU was found."
    assert (check.verdict, check.text, check.advice.startswith(advice)) == ("warning", text, True)


def test_gpu_hidden_by_the_user_is_no_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    (check,) = hardware.check_gpu(NO_GPU, "", facts(), hardware.gpu_files(tmp_path))
    assert check.verdict == "ok"


@pytest.mark.parametrize(
    ("changes", "verdict", "text", "advice"),
    [
        ({}, "ok", "the C library is compiled, for AVX-512 VNNI", ""),
        (
            {"library": "there is no C compiler (install gcc or clang)"},
            "warning",
            "no C library: there is no C compiler (install gcc or clang). "
            "Models run with torch on the CPU, which is slower",
            "Install gcc or clang.",
        ),
        (
            {"torch": torch("12.8", TORCH_GPU), "library": "the processor has no avx512f"},
            "ok",
            "bitsandbytes' 4-bit kernels work on the GPU",
            "",
        ),
        (
            {"torch": torch("12.8", TORCH_GPU), "four_bits": "RuntimeError: no kernel image"},
            "problem",
            "bitsandbytes' 4-bit kernels fail (RuntimeError: no kernel image)",
            "Reinstall bitsandbytes: `python -m pip install --force-reinstall bitsandbytes`.",
        ),
    ],
)
def test_kernels_of_the_planned_device_are_checked(changes, verdict, text, advice):
    (check,) = hardware.check_kernels(facts(**changes))
    assert (check.verdict, check.text, check.advice) == (verdict, text, advice)


def test_plan_that_does_not_fit_is_a_problem_unless_loaded(monkeypatch, tmp_path):
    """Memory of loaded models is no longer free, so a new plan would count it twice."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path))
    sentence = "codellama-7b (nf4) needs 5 GiB, but CPU memory has 1 GiB free: choose starter."
    planned = facts(plan={"error": sentence, "own": True})
    memory, disk = hardware.check_room(planned, loaded=False)
    assert (memory.verdict, memory.text) == ("problem", sentence)
    assert "`codellama-ls models`" in memory.advice
    assert [check.name for check in hardware.check_room(planned, loaded=True)] == [disk.name] == ["disk"]


def test_disk_without_space_for_the_first_start_is_a_problem(monkeypatch, tmp_path):
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "not" / "there" / "yet"))
    _, disk = hardware.check_room(facts(plan={"summary": "", "to_write": 1 << 60}), loaded=False)
    assert (disk.verdict, disk.figures["to_write_bytes"]) == ("problem", 1 << 60)
    assert store.FOLDER_VARIABLE in disk.advice


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("import sys; sys.exit('ImportError: libcudart')", "ImportError: libcudart"),
        ("import os; os.abort()", "it ended with status -6"),
        ("print('no JSON')", "it ended with status 0"),
    ],
)
def test_failed_probe_is_reported_in_every_part(program, error):
    found = hardware.probe_torch(EngineOptions(), [sys.executable, "-c", program])
    assert found == {part: {"error": error} for part in ("torch", "four_bits", "library", "plan")}


def test_probe_plans_the_same_models_as_the_engine(monkeypatch, tmp_path):
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    assert (
        pull_command.main([str(save_checkpoint(tmp_path / "tiny", sentinels=True)), "--as", "tiny"]) == pull_command.OK
    )
    found = hardware.probe_torch(EngineOptions("tiny", "bf16"))
    assert found["torch"]["version"]
    assert found["plan"]["forms"] == {"tiny": "bf16"}
    assert found["plan"]["to_write"] == 0
    assert "tokens for completion" in found["plan"]["summary"]
    missing = hardware.probe_torch(EngineOptions("missing"))["plan"]
    assert missing == {"error": missing["error"], "own": True}
    assert "'missing'" in missing["error"]
