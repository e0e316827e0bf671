"""Loading gives transformers' weights in the requested format, silently and offline, or one error message."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from fakes.tiny_llama import save_llama
from transformers import LlamaForCausalLM

from inference.models import loader
from inference.models.checkpoint import WeightFormat, inspect
from inference.models.language_model import KVSession
from inference.models.loader import LoadError, choose_device, choose_dtype, choose_format, load, why_no_four_bits

IDS = [3, 141, 59, 26, 5, 35]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("llama"), shard="60KB")


def logits(folder: Path, weight_format: WeightFormat) -> torch.Tensor:
    model = load(folder, weight_format, "cpu")
    kv = KVSession(model)
    kv.reserve(len(IDS))
    return model.forward(IDS, kv, every_position=True)


def test_float32_on_a_cpu_equals_transformers(folder: Path) -> None:
    reference = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        expected = reference(torch.tensor([IDS])).logits[0]
    torch.testing.assert_close(logits(folder, "fp32"), expected, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_near_float32_and_nf4_is_farther(folder: Path) -> None:
    """The errors are those known for each format; no format may be a mere label."""
    exact = logits(folder, "fp32")
    bf16, nf4 = (float((logits(folder, f) - exact).norm() / exact.norm()) for f in ("bf16", "nf4"))
    assert 0 < bf16 < 0.02 < nf4 < 0.5


@pytest.mark.parametrize("double_quant", [False, True])
def test_nf4_takes_the_computed_memory(folder: Path, double_quant: bool) -> None:
    """The refusal of models that don't fit relies on this arithmetic."""
    model = load(folder, "nf4", "cpu", double_quant=double_quant)
    block = model._blocks[0]
    linears: list[Any] = [block.query, block.key, block.value, block.output, block.gate, block.up, block.down]
    held = sum(linear.weight.numel() for linear in linears)  # two 4-bit weights a byte
    assert held == sum(linear.in_features * linear.out_features for linear in linears) // 2
    assert all(linear.weight.quant_state.nested is double_quant for linear in linears)
    scales = sum(_scale_bytes(linear.weight.quant_state) for linear in linears)
    rest = (2 * 160 * 64 + 5 * 64) * 4
    computed = inspect(folder).weight_bytes("nf4", 4, double_quant=double_quant)
    assert 2 * (held + scales) + rest == pytest.approx(computed, rel=0.01)


def _scale_bytes(state: Any) -> int:
    nested = state.state2.absmax.nbytes if state.nested else 0
    return state.absmax.nbytes + nested


@pytest.mark.parametrize(("weight_format", "size"), [("fp32", 4), ("bf16", 2)])
def test_plain_formats_take_the_computed_memory(folder: Path, weight_format: WeightFormat, size: int) -> None:
    model = load(folder, weight_format, "cpu")
    assert model.dtype.itemsize == size
    assert inspect(folder).weight_bytes(weight_format, size) == 94_528 * size


def test_auto_is_nf4_on_a_gpu_and_float32_on_a_cpu() -> None:
    assert choose_format("auto", torch.device("cuda")) == "nf4"
    assert choose_format("auto", torch.device("cpu")) == "fp32"
    assert choose_format("bf16", torch.device("cpu")) == "bf16"


def test_progress_counts_every_tensor(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    load(folder, "fp32", "cpu", lambda done, total: seen.append((done, total)))
    assert seen == [(n, 21) for n in range(1, 22)]


def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LoadError, match="torch finds no CUDA device"):
        choose_device("cuda")
    assert choose_device(None) == torch.device("cpu")


def test_too_little_memory_is_reported_before_loading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the system would kill the process."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=94_528 * 4 - 1))
    monkeypatch.setattr(loader, "_read", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(LoadError) as error:
        load(folder, "fp32", "cpu")
    assert str(error.value) == (
        f"The weights in {folder} need 0.0 GiB of memory, but 0.0 GiB are free. "
        "Close other programs, or choose a smaller model or fewer bits."
    )


def test_transformers_failure_becomes_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("first line\nand a traceback")

    monkeypatch.setattr(LlamaForCausalLM, "from_pretrained", fail)
    with pytest.raises(LoadError) as error:
        load(folder, "fp32", "cpu")
    assert str(error.value) == f"The checkpoint in {folder} can't be loaded (first line)."


SILENT = """
import socket, sys
from pathlib import Path

def refuse(*arguments, **_):
    print("network:", arguments, flush=True)
    raise OSError("no network in this test")

socket.getaddrinfo = socket.socket.connect = refuse
from inference.models.loader import load
from inference.models.language_model import KVSession
model = load(Path(sys.argv[1]), "nf4", "cpu")
kv = KVSession(model)
kv.reserve(4)
model.forward([1, 2, 3, 4], kv)
"""


@pytest.mark.parametrize("installed", [False, True])
def test_loading_is_silent_and_offline(folder: Path, tmp_path: Path, installed: bool) -> None:
    """bitsandbytes may contact a hub when imported, and both libraries print; stdout carries a protocol.

    An installed checkpoint is also saved once it is quantised.
    """
    root, copy = Path(__file__).parents[3], Path(shutil.copytree(folder, tmp_path / "copy"))
    if installed:
        (copy / "manifest.json").write_text("{}")
    command = [sys.executable, "-c", SILENT, str(copy)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(list(copy.glob("nf4-*"))) == installed


@pytest.mark.starter
def test_starter_loads(starter_folder: Path) -> None:
    model = load(starter_folder, device="cpu")
    assert (model.config.num_hidden_layers, model.dtype) == (30, torch.float32)


@pytest.mark.parametrize(
    ("weight_format", "device", "fast", "dtype"),
    [
        ("fp32", "cuda", True, torch.float32),
        ("nf4", "cuda", True, torch.bfloat16),
        ("nf4", "cuda", False, torch.float16),
        ("bf16", "cpu", False, torch.bfloat16),
        ("nf4", "cpu", True, torch.bfloat16),
        ("nf4", "cpu", False, torch.float32),
    ],
)
def test_activations_have_the_fastest_type_of_the_device(
    monkeypatch: pytest.MonkeyPatch, weight_format: WeightFormat, device: str, fast: bool, dtype: torch.dtype
) -> None:
    """GPUs before Ampere have no bfloat16, and few CPUs have AVX512_BF16."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: fast)
    monkeypatch.setattr("bitsandbytes.functional.has_avx512bf16", lambda: fast)
    assert choose_dtype(weight_format, torch.device(device)) == dtype


def test_four_bit_support_is_tested_by_a_product():
    """The doctor uses this: an importable library may still lack a kernel for the device."""
    assert why_no_four_bits("cpu") == ""


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_device_without_four_bits_reports_the_reason():
    """torch's CPU build mentions CUDA, its CUDA build the NVIDIA driver."""
    why = why_no_four_bits("cuda")
    assert "CUDA" in why or "NVIDIA driver" in why
