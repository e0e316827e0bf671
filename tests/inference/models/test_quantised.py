"""Quantised copies: later starts load the same bits, and damage is always detected."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.tiny_llama import save_llama
from transformers import BitsAndBytesConfig, LlamaForCausalLM

from inference.models.checkpoint import LoadError, inspect
from inference.models.language_model import KVSession
from inference.models.llama import Llama
from inference.models.loader import choose_dtype, load

IDS = [3, 141, 59, 26, 5, 35]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def folder(plain: Path, tmp_path: Path) -> Path:
    """An installed checkpoint: one with a manifest."""
    copy = Path(shutil.copytree(plain, tmp_path / "installed"))
    (copy / "manifest.json").write_text('{"source": "first"}')
    return copy


def forbid_quantising(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitsandbytes.functional.quantize_4bit", lambda *_, **__: pytest.fail("quantised again"))


def kept(folder: Path) -> list[str]:
    """Return the formats of the copies in the checkpoint's folder."""
    return sorted(path.name.rsplit("-", 1)[0] for path in folder.glob("nf4-*"))


def logits(model: Llama) -> torch.Tensor:
    kv = KVSession(model)
    kv.reserve(len(IDS))
    return model.forward(IDS, kv, every_position=True)


def tensors(model: Llama) -> list[torch.Tensor]:
    """Return every 4-bit weight with its scales, and the head."""
    found = [model._head.weight]
    for block in model._blocks:
        for part in (block.query, block.key, block.value, block.output, block.gate, block.up, block.down):
            weight: Any = part.weight
            found += [
                weight.data.clone(),
                *(value.clone() for value in weight.quant_state.as_dict(packed=True).values()),
            ]
    return found


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("double_quant", [False, True])
def test_later_start_loads_the_same_bits(
    folder: Path, monkeypatch: pytest.MonkeyPatch, double_quant: bool, device: str
) -> None:
    """The first start may use the model, because the copy is saved before the first forward pass."""
    first = load(folder, "nf4", device, double_quant=double_quant)
    weights, expected = tensors(first), logits(first)
    forbid_quantising(monkeypatch)
    again = load(folder, "nf4", device, double_quant=double_quant)
    assert same(tensors(again), weights)
    assert torch.equal(logits(again), expected)
    assert len(kept(folder)) == 1


def test_head_is_never_quantised(folder: Path) -> None:
    """32,016 rows are not a multiple of 32, which bitsandbytes' CPU kernel needs; and the head chooses every token."""
    for _ in range(2):
        assert type(load(folder, "nf4", "cpu")._head) is torch.nn.Linear


def test_each_format_has_its_own_copy(folder: Path) -> None:
    single, double = (tensors(load(folder, "nf4", "cpu", double_quant=d)) for d in (False, True))
    dtype = min(kept(folder), key=len).removeprefix("nf4-")
    assert sorted(kept(folder)) == sorted([f"nf4-double-{dtype}", f"nf4-{dtype}"])
    assert len(double) > len(single)


def test_progress_is_reported_at_a_later_start(folder: Path) -> None:
    load(folder, "nf4", "cpu")
    seen: list[tuple[int, int]] = []
    load(folder, "nf4", "cpu", lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0


def test_copy_belongs_to_one_manifest(folder: Path) -> None:
    """A model that was pulled again has other weights, perhaps of the same shapes."""
    load(folder, "nf4", "cpu")
    shutil.copytree(save_llama(folder.parent / "other", initializer_range=0.3), folder, dirs_exist_ok=True)
    (folder / "manifest.json").write_text('{"source": "second"}')
    again = load(folder, "nf4", "cpu")
    assert len(kept(folder)) == 2
    assert same(tensors(again), tensors(load(folder.parent / "other", "nf4", "cpu")))


def test_no_copy_is_kept_in_a_folder_that_is_not_installed(plain: Path) -> None:
    """Its files may change at any time."""
    before = sorted(path.name for path in plain.iterdir())
    load(plain, "nf4", "cpu")
    assert sorted(path.name for path in plain.iterdir()) == before


@pytest.mark.parametrize("damage", ["model.safetensors", "config.json"])
def test_damaged_copy_is_made_again(folder: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    weights = tensors(load(folder, "nf4", "cpu"))
    (where,) = folder.glob("nf4-*")
    os.truncate(where / damage, 100)
    assert same(tensors(load(folder, "nf4", "cpu")), weights)
    [line] = caplog.messages
    assert line.startswith(f"the quantised weights in {where} are not used ({damage} has 100 bytes instead of ")
    assert line.endswith("): quantising again")
    caplog.clear()
    load(folder, "nf4", "cpu")
    assert caplog.messages == []


def test_full_disk_only_slows_the_next_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The free space is checked first."""
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert logits(load(folder, "nf4", "cpu")).shape == (6, 160)
    assert kept(folder) == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages[0].endswith("(0.0 GB are needed, 0.0 GB are free): every start will quantise again")


def test_disk_that_fills_up_only_slows_the_next_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The partial copy is removed."""

    def fill(model: object, path: Path, **_: object) -> None:
        path.mkdir()
        (path / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LlamaForCausalLM, "save_pretrained", fill)
    load(folder, "nf4", "cpu")
    assert [path.name for path in folder.iterdir() if "nf4" in path.name and path.is_dir()] == []
    assert "No space left on device" in caplog.messages[0]


def test_remains_of_a_killed_process_are_replaced(folder: Path) -> None:
    load(folder, "nf4", "cpu")
    (where,) = folder.glob("nf4-*")
    where.rename(where.with_name(f".{where.name}.partial"))
    load(folder, "nf4", "cpu")
    assert [path.name for path in folder.iterdir() if path.is_dir()] == [where.name]


@pytest.fixture(scope="module", params=[torch.uint8, torch.bfloat16], ids=["uint8", "bfloat16"])
def foreign(request: pytest.FixtureRequest, plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint quantised for bfloat16 on a GPU, with doubly quantised scales."""
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_quant_storage=request.param,
    )
    folder = tmp_path_factory.mktemp("foreign")
    model: Any = LlamaForCausalLM.from_pretrained(
        plain, quantization_config=settings, dtype=torch.bfloat16, device_map="cpu"
    )
    model.save_pretrained(folder)
    return folder


def test_quantised_checkpoint_is_loaded_as_it_is(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example unsloth/codellama-34b-bnb-4bit on the hub, but computed in this machine's type."""
    forbid_quantising(monkeypatch)
    model = load(foreign, "auto", "cpu")
    reference: Any = LlamaForCausalLM.from_pretrained(foreign, device_map="cpu").eval()
    with torch.inference_mode():
        expected = reference(torch.tensor([IDS])).logits[0].float()
    torch.testing.assert_close(logits(model), expected, rtol=0.05, atol=0.1)  # the reference computes in bfloat16
    assert {model.dtype, model._head.weight.dtype, model._norm.dtype, model._blocks[0].query.compute_dtype} == {
        choose_dtype("nf4", torch.device("cpu"))
    }
    assert inspect(foreign).double_quant
    assert kept(foreign) == []


def test_quantised_checkpoint_has_no_other_format(foreign: Path) -> None:
    with pytest.raises(LoadError) as error:
        load(foreign, "bf16", "cpu")
    assert str(error.value) == f"The checkpoint in {foreign} is in 4 bits already. Load it as nf4, not as bf16."


@pytest.mark.parametrize("settings", [{"quant_method": "bitsandbytes", "load_in_8bit": True}, {"quant_method": "awq"}])
def test_other_quantisations_are_refused(folder: Path, settings: dict[str, Any]) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"quantization_config": settings}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(LoadError) as error:
        load(folder, "auto", "cpu")
    assert str(error.value) == (
        f"The checkpoint in {folder} is quantised by {settings['quant_method']}. Only bitsandbytes' NF4 and "
        "16 or 32 bit weights can be loaded."
    )


def test_float16_weights_load(tmp_path: Path) -> None:
    """Older checkpoints use it; float32 holds all of its values."""
    folder = tmp_path / "half"
    save_llama(folder)
    LlamaForCausalLM.from_pretrained(folder, dtype=torch.float16).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float16"
    reference = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        expected = reference(torch.tensor([IDS])).logits[0]
    torch.testing.assert_close(logits(load(folder, "fp32", "cpu")), expected, rtol=1e-5, atol=1e-5)
