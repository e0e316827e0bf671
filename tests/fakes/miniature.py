"""The twelve Code Llama checkpoints in miniature: few random weights, but every distinguishing trait.

These are the vocabulary and its file, RoPE's base, the positions, the ratio of query heads to key heads, the three
shards, and the stored type. Sizes suit NF4: inputs of linear layers are multiples of 64, outputs of 32.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from inference.models.catalog import CATALOG, STARTER, Model
from inference.models.checkpoint import llama_shapes
from inference.models.shape import Shape

TWELVE = [row for row in CATALOG.values() if row is not STARTER]

HEADS, HEAD_DIM = 8, 32


def miniature_shape(shape: Shape) -> Shape:
    """Return ``shape`` with two narrow layers."""
    kv_heads = HEADS * shape.kv_heads // shape.heads
    few = {"layers": 2, "hidden": HEADS * HEAD_DIM, "intermediate": 704}
    return replace(shape, heads=HEADS, kv_heads=kv_heads, head_dim=HEAD_DIM, **few)


def save_miniature(row: Model, vocabulary: Path, folder: Path) -> Path:
    """Write the checkpoint as on the hub; ``vocabulary`` is the folder of the row's ``tokenizer.model``."""
    folder.mkdir(parents=True)
    config = _config(row)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("Not needed.")
    shutil.copy(vocabulary / "tokenizer.model", folder)
    if row.chat == "step":
        (folder / "added_tokens.json").write_text('{"<step>": 32015}')
    _save_shards(_weights(config, seed=TWELVE.index(row)), folder)
    return folder


def _config(row: Model) -> dict[str, object]:
    shape = miniature_shape(row.shape)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": shape.positions,
        "rms_norm_eps": 1e-5,
        "rope_theta": shape.rope_theta,
        "rope_scaling": None,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "float16" if row.id.startswith("codellama-13b") else "bfloat16",
    }


def _weights(config: dict, seed: int) -> dict[str, torch.Tensor]:
    """Return random weights. The head's rows differ in scale, so the likeliest token is seldom nearly tied."""
    generator = torch.Generator().manual_seed(seed)
    weights = {name: 0.08 * torch.randn(shape, generator=generator) for name, shape in llama_shapes(config).items()}
    weights |= {name: 1 + values for name, values in weights.items() if values.dim() == 1}
    weights["lm_head.weight"] *= (0.5 * torch.randn(config["vocab_size"], 1, generator=generator)).exp()
    return {name: values.to(getattr(torch, config["torch_dtype"])) for name, values in weights.items()}


def _save_shards(weights: dict[str, torch.Tensor], folder: Path) -> None:
    shards: list[dict[str, torch.Tensor]] = [{}, {}, {}]
    for name, tensor in weights.items():
        shards[0 if "embed" in name else 2 if name in ("lm_head.weight", "model.norm.weight") else 1][name] = tensor
    weight_map = {}
    for n, shard in enumerate(shards, 1):
        file = f"model-{n:05}-of-00003.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(shard, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
