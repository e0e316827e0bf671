"""GPU, kernels, memory and disk: what the probe and nvidia-smi say, in a line each with the next step."""

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
SEEN = {"name": "NVIDIA A10", "capability": [8, 6]}
BARE, EQUIPPED = Machine(MEMORY, (), "No NVIDIA GPU was found."), Machine(MEMORY, (CARD,))


def facts(**changes):
    torch = {"version": "2.13.0", "cuda": "12.8", "gpus": []}
    known = {"torch": torch, "four_bits": "", "library": "", "plan": {"summary": "needs 1 MiB", "to_write": 0}}
    return {**known, **changes}


def torch(cuda: str = "12.8", *gpus):
    return {"version": "2.13.0", "cuda": cuda, "gpus": list(gpus)}


@pytest.mark.parametrize(
    ("found", "told", "verdict", "text"),
    [
        (BARE, torch(), "ok", "No NVIDIA GPU was found. Models are computed on the CPU."),
        (EQUIPPED, torch("12.8", SEEN), "ok", "NVIDIA A10 (8.6), driver 550.1, 20.00 GiB free of 24.00 GiB"),
        (EQUIPPED, torch(""), "problem", "torch 2.13.0 was built without CUDA, so NVIDIA A10 is not used"),
        (EQUIPPED, torch(), "problem", "torch 2.13.0 (CUDA 12.8) can't use NVIDIA A10 with the driver 550.1"),
        (BARE, {"error": "ImportError: no torch"}, "problem", "it can't be imported (ImportError: no torch)"),
    ],
)
def test_gpu_that_the_system_sees_must_be_one_that_torch_can_use(found, told, verdict, text):
    (check,) = hardware.check_gpu(found, "550.1", facts(torch=told))
    assert (check.verdict, check.text) == (verdict, text)
    assert bool(check.advice) == (verdict != "ok")


@pytest.mark.parametrize(
    ("told", "files", "named", "advice"),
    [
        (torch("12.8", SEEN), [], "NVIDIA A10", "Have nvidia-smi"),
        (torch(), ["dev/nvidia0"], "one (/dev/nvidia0 is there)", "Have nvidia-smi"),
        (torch(""), ["proc/driver/nvidia/version"], "one (/proc/driver/nvidia/version is there)", "Have nvidia-smi"),
        (torch(""), ["dev/kfd"], "one (/dev/kfd is there)", "Only NVIDIA's are"),
        (torch("", {"name": "AMD Instinct", "capability": [9, 0]}), ["dev/kfd"], "AMD Instinct", "Only NVIDIA's are"),
    ],
)
def test_gpu_that_nvidia_smi_does_not_tell_of_is_not_called_none(told, files, named, advice, tmp_path, monkeypatch):
    """A person with a GPU would look for the reason of slow answers everywhere else."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    (check,) = hardware.check_gpu(BARE, "", facts(torch=told), hardware.signs(tmp_path))
    text = f"there is a GPU, {named}, and it is not used: No NVIDIA GPU was found."
    assert (check.verdict, check.text, check.advice.startswith(advice)) == ("warning", text, True)


def test_gpu_that_was_hidden_on_purpose_is_not_missed(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    (check,) = hardware.check_gpu(BARE, "", facts(), hardware.signs(tmp_path))
    assert check.verdict == "ok"


@pytest.mark.parametrize(
    ("changes", "verdict", "text", "advice"),
    [
        ({}, "ok", "the C library is compiled, for AVX-512 VNNI", ""),
        (
            {"library": "there is no C compiler (install gcc or clang)"},
            "warning",
            "no C library: there is no C compiler (install gcc or clang); the CPU computes with torch, which is slower",
            "Install gcc or clang.",
        ),
        (
            {"torch": torch("12.8", SEEN), "library": "the processor has no avx512f"},
            "ok",
            "bitsandbytes' 4-bit kernels work on the GPU",
            "",
        ),
        (
            {"torch": torch("12.8", SEEN), "four_bits": "RuntimeError: no kernel image"},
            "problem",
            "4-bit weights can't be computed with (RuntimeError: no kernel image)",
            "Install bitsandbytes anew: `python -m pip install --force-reinstall bitsandbytes`.",
        ),
    ],
)
def test_kernels_are_those_of_the_device_that_computes(changes, verdict, text, advice):
    (check,) = hardware.check_kernels(facts(**changes))
    assert (check.verdict, check.text, check.advice) == (verdict, text, advice)


def test_plan_that_does_not_fit_is_a_problem_unless_the_engine_holds_the_models_already(monkeypatch, tmp_path):
    """What they take is free no more; a plan made now would count it twice."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path))
    sentence = "codellama-7b (nf4) needs 5 GiB, but CPU memory has 1 GiB free: choose starter."
    planned = facts(plan={"error": sentence, "own": True})
    memory, disk = hardware.check_room(planned, loaded=False)
    assert (memory.verdict, memory.text, memory.advice) == ("problem", sentence, "Do as it says.")
    assert [check.name for check in hardware.check_room(planned, loaded=True)] == [disk.name] == ["disk"]


def test_disk_without_room_for_what_the_first_start_writes_is_a_problem(monkeypatch, tmp_path):
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "not" / "there" / "yet"))
    _, disk = hardware.check_room(facts(plan={"summary": "", "to_write": 1 << 60}), loaded=False)
    assert (disk.verdict, disk.figures["to_write_bytes"]) == ("problem", 1 << 60)
    assert store.FOLDER_VARIABLE in disk.advice


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.exit('ImportError: libcudart')", "ImportError: libcudart"),
        ("import os; os.abort()", "it ended with status -6"),
        ("print('no JSON')", "it ended with status 0"),
    ],
)
def test_probe_that_dies_is_told_in_every_part(program, said):
    found = hardware.ask(EngineOptions(), [sys.executable, "-c", program])
    assert found == {part: {"error": said} for part in ("torch", "four_bits", "library", "plan")}


def test_real_probe_plans_what_the_engine_would_load(monkeypatch, tmp_path):
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    assert (
        pull_command.main([str(save_checkpoint(tmp_path / "tiny", sentinels=True)), "--as", "tiny"]) == pull_command.OK
    )
    found = hardware.ask(EngineOptions("tiny", "bf16"))
    assert found["torch"]["version"]
    assert found["plan"]["forms"] == {"tiny": "bf16"}
    assert found["plan"]["to_write"] == 0
    assert "tokens for completion" in found["plan"]["summary"]
    missing = hardware.ask(EngineOptions("missing"))["plan"]
    assert missing == {"error": missing["error"], "own": True}
    assert missing["error"].startswith("There is no model 'missing'")
