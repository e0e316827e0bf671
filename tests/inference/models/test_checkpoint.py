"""Problems of a checkpoint folder are found from its headers and reported in one sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fakes.tiny_llama import change_config, save_llama
from safetensors.torch import load_file, save_file

from inference.models.checkpoint import Checkpoint, LoadError, inspect, llama_shapes

CODE_LLAMA_7B = {
    "vocab_size": 32016,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_llama(tmp_path)


def refusal(folder: Path) -> str:
    with pytest.raises(LoadError) as error:
        inspect(folder)
    return str(error.value)


def test_parameters_and_bytes_of_code_llama_7b_are_exact() -> None:
    """Compared with the published count, and with NF4's arithmetic done by hand."""
    model = Checkpoint(Path(), CODE_LLAMA_7B, llama_shapes(CODE_LLAMA_7B))
    linear = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    rest = 2 * 32016 * 4096 + 65 * 4096
    assert model.parameters == linear + rest == 6_738_546_688
    assert model.weight_bytes("bf16", 2) == 13_477_093_376
    assert model.weight_bytes("fp32", 4) == 26_954_186_752
    assert model.weight_bytes("nf4", 2) == linear * 9 // 16 + 2 * rest
    assert model.weight_bytes("nf4", 2, double_quant=True) == linear // 2 + linear // 64 + linear // 4096 + 2 * rest


def test_checkpoint_saved_by_transformers_is_complete(folder: Path) -> None:
    checkpoint = inspect(folder)
    assert {name: tuple(t.shape) for name, t in load_file(folder / "model.safetensors").items()} == checkpoint.shapes


def test_tied_head_counts_once(tmp_path: Path) -> None:
    untied, tied = (inspect(save_llama(tmp_path / str(t), tie_word_embeddings=t)) for t in (False, True))
    assert untied.parameters - tied.parameters == 160 * 64


def test_shards_are_found_by_their_index(tmp_path: Path) -> None:
    save_llama(tmp_path, shard="60KB")
    assert not (tmp_path / "model.safetensors").exists()
    assert inspect(tmp_path).parameters == 94_528


def test_missing_folder_is_reported(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == f"There is no checkpoint folder {tmp_path}/none."


def test_missing_config_is_reported(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert refusal(folder) == f"The checkpoint in {folder} lacks config.json."


@pytest.mark.parametrize(("content", "part"), [("{", "can't be read"), ("[]", "holds no JSON object")])
def test_unreadable_config_is_reported(folder: Path, content: str, part: str) -> None:
    (folder / "config.json").write_text(content)
    assert part in refusal(folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_type": "mistral"}, "has the architecture 'mistral'. Only 'llama' can be loaded."),
        ({"hidden_act": "gelu"}, "uses the activation 'gelu', not Llama's 'silu'."),
        ({"intermediate_size": None}, "has no intermediate_size."),
        ({"quantization_config": {"quant_method": "gptq"}}, "is quantised by gptq. Only bitsandbytes' NF4"),
    ],
)
def test_unsupported_architecture_is_refused(folder: Path, changes: dict[str, object], sentence: str) -> None:
    """The forward pass computes one architecture; others would produce noise."""
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    assert sentence in refusal(folder)


def test_missing_weights_are_reported(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert refusal(folder) == f"The checkpoint in {folder} lacks model.safetensors."


def test_pickled_weights_are_not_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert refusal(folder) == (
        f"The checkpoint in {folder} lacks model.safetensors. Its .bin files are pickles, which can run code, "
        "and are not read."
    )


def test_missing_shard_is_named(tmp_path: Path) -> None:
    save_llama(tmp_path, shard="60KB")
    shard = sorted(tmp_path.glob("model-*.safetensors"))[1]
    shard.unlink()
    assert refusal(tmp_path) == f"The checkpoint in {tmp_path} lacks {shard.name}."


@pytest.mark.parametrize("keep", [0, 4, 300, 100_000])
def test_truncated_weights_are_reported(folder: Path, keep: int) -> None:
    """Truncated in the length field, in the header or in the data."""
    os.truncate(folder / "model.safetensors", keep)
    assert "model.safetensors is damaged or cut short" in refusal(folder)


def test_missing_tensor_is_named(folder: Path) -> None:
    """Transformers would fill it with random weights."""
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert refusal(folder) == f"The checkpoint in {folder} lacks the tensor model.layers.1.mlp.up_proj.weight."


def test_config_and_weights_must_agree_on_the_vocabulary(folder: Path) -> None:
    change_config(folder, vocab_size=164)
    assert refusal(folder) == (
        f"In {folder} the tensor model.embed_tokens.weight has the shape (160, 64); config.json says (164, 64)."
    )


def test_tokenizer_with_too_many_tokens_is_refused(folder: Path) -> None:
    """Such an id would read past the embedding's end: garbage on a CPU, a dead process on a GPU."""
    vocabulary = {chr(0x4E00 + i): i for i in range(161)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    assert refusal(folder) == f"The tokenizer in {folder} has 161 tokens, but the model has embeddings for 160."
    del vocabulary[chr(0x4E00 + 160)]
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    assert inspect(folder).parameters == 94_528


@pytest.mark.parametrize(
    ("config", "form", "activation_bytes", "repacked", "mapped"),
    [
        ({"quantization_config": {"load_in_4bit": True}, "dtype": "bfloat16"}, "nf4", 4, False, "linear"),
        ({"quantization_config": {"load_in_4bit": True}, "dtype": "float32"}, "nf4", 4, False, "all"),
        ({"quantization_config": {"load_in_4bit": True}, "dtype": "bfloat16"}, "nf4", 2, True, "rest"),
        ({"torch_dtype": "bfloat16"}, "nf4", 4, False, "nothing"),
        ({"torch_dtype": "bfloat16"}, "bf16", 2, False, "all"),
        ({"torch_dtype": "float16"}, "bf16", 2, False, "nothing"),
        ({"torch_dtype": "bfloat16"}, "fp32", 4, False, "nothing"),
    ],
)
def test_weights_used_as_stored_stay_mapped(config, form, activation_bytes, repacked, mapped) -> None:
    """Weights that are converted, quantised or rewritten take anonymous memory instead."""
    model = Checkpoint(Path(), CODE_LLAMA_7B | config, llama_shapes(CODE_LLAMA_7B))
    everything = model.weight_bytes(form, activation_bytes)
    rest = activation_bytes * (2 * 32016 * 4096 + 65 * 4096)
    expected = {"nothing": 0, "all": everything, "rest": rest, "linear": everything - rest}[mapped]
    assert model.mapped_bytes(form, activation_bytes, repacked=repacked) == expected
