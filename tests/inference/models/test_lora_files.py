"""Adapters beyond plain LoRA are refused before any tensor is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fakes.byte_llama import tiny_config, tiny_reference
from fakes.lora import save_lora
from safetensors.torch import load_file, save_file

from inference.models.adapter_files import check_fits, read_lora
from inference.models.adapter_store import AdapterError

QUERY = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """An adapter of rank 4 on the queries and the MLP's last matrix."""
    return save_lora(tmp_path_factory.mktemp("saved"), tiny_reference(), target_modules=["q_proj", "down_proj"])


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of the adapter for tests that change it."""
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes((saved / name).read_bytes())
    return tmp_path


def configure(folder: Path, **entries: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")


def test_plain_adapter_is_read(folder):
    lora = read_lora(folder)
    assert (lora.rank, lora.scale) == (4, 2.0)
    assert lora.shapes == {
        f"model.layers.{n}.{matrix}": shapes
        for n in (0, 1)
        for matrix, shapes in {
            "self_attn.q_proj": ((4, 32), (32, 4)),
            "mlp.down_proj": ((4, 64), (32, 4)),
        }.items()
    }
    check_fits(lora, tiny_config().to_dict())


def test_rank_stabilised_scale_is_by_the_root_of_the_rank(folder):
    """Kalajdzievski 2023 (arXiv 2312.03732)."""
    configure(folder, use_rslora=True)
    assert read_lora(folder).scale == 4.0


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ({"use_dora": True}, "uses use_dora"),
        ({"bias": "all"}, "uses bias"),
        ({"lora_bias": True}, "uses lora_bias"),
        ({"modules_to_save": ["lm_head"]}, "uses modules_to_save"),
        ({"trainable_token_indices": [1]}, "uses trainable_token_indices"),
        ({"rank_pattern": {"q_proj": 8}}, "uses rank_pattern"),
        ({"alpha_pattern": {"q_proj": 8}}, "uses alpha_pattern"),
        ({"layer_replication": [[0, 2]]}, "uses layer_replication"),
        ({"fan_in_fan_out": True}, "uses fan_in_fan_out"),
        ({"alora_invocation_tokens": [7]}, "uses alora_invocation_tokens"),
        ({"target_parameters": ["x"]}, "uses target_parameters"),
        ({"invented_later": {"how": 1}}, "uses invented_later"),
        ({"init_lora_weights": "pissa"}, "modified its base model"),
        ({"peft_type": "IA3"}, "has no peft_type LORA"),
        ({"r": 0}, "no usable r and lora_alpha"),
        ({"lora_alpha": None}, "no usable r and lora_alpha"),
        ({"r": 8}, "don't have the rank 8"),
    ],
)
def test_entry_beyond_plain_lora_is_refused_by_name(folder, entries, named):
    """Serving it as plain LoRA would be silently wrong."""
    configure(folder, **entries)
    with pytest.raises(AdapterError, match=named):
        read_lora(folder)


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.lm_head.lora_A.weight",
        "base_model.model.model.embed_tokens.weight",
        f"{QUERY}.lora_magnitude_vector",
        f"{QUERY}.lora_A.bias",
        "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight",
    ],
)
def test_tensor_outside_plain_lora_is_refused_by_name(folder, name):
    change_tensors(folder, lambda tensors: tensors.update({name: torch.zeros(4, 4)}))
    with pytest.raises(AdapterError, match=f"holds {name}, which is not part of plain LoRA"):
        read_lora(folder)


def test_missing_half_of_a_pair_is_refused(folder):
    change_tensors(folder, lambda tensors: tensors.pop(f"{QUERY}.lora_B.weight"))
    with pytest.raises(AdapterError, match="lacks A or B of model"):
        read_lora(folder)


def test_empty_adapter_is_refused(folder):
    save_file({}, folder / "adapter_model.safetensors")
    with pytest.raises(AdapterError, match="adapts nothing"):
        read_lora(folder)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100])
def test_damaged_file_is_refused(folder, content):
    (folder / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(AdapterError, match="is missing, damaged or cut short"):
        read_lora(folder)


def test_layer_that_the_model_lacks_is_refused(folder):
    with pytest.raises(AdapterError, match=r"adapts model\.layers\.1\.mlp\.down_proj, but the model has 1 layers"):
        check_fits(read_lora(folder), tiny_config(num_hidden_layers=1).to_dict())


def test_matrix_of_another_shape_is_refused(folder):
    with pytest.raises(
        AdapterError, match=r"was trained on another model: its .*down_proj is 32 x 64, but the model's is 32 x 96"
    ):
        check_fits(read_lora(folder), tiny_config(intermediate_size=96).to_dict())
