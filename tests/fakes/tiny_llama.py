"""Llama checkpoints with random weights, saved as transformers saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def save_llama(folder: Path, *, shard: str = "5GB", **config: Any) -> Path:
    """A two-layer Llama in bfloat16 whose shapes suit NF4 blocks; ``config`` overrides its configuration."""
    shape = {
        "vocab_size": 160,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
    }
    torch.manual_seed(11)
    model = LlamaForCausalLM(LlamaConfig(**(shape | config))).bfloat16()
    model.save_pretrained(folder, max_shard_size=shard)
    return folder


def change_config(folder: Path, **changes: Any) -> None:
    """Rewrite entries of ``config.json``; None removes one."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
