"""Llama checkpoints with random weights, saved as transformers saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from support.vocabulary import APPENDED, TRAINER, write_proto
from transformers import LlamaConfig, LlamaForCausalLM

SENTINELS = [piece for piece in APPENDED if piece[0] in ("▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>")]


def save_llama(folder: Path, *, shard: str = "5GB", **config: Any) -> Path:
    """Save a two-layer bfloat16 Llama whose shapes suit NF4 blocks; ``config`` overrides its configuration."""
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


def save_checkpoint(folder: Path, *, sentinels: bool = False, **config: Any) -> Path:
    """Save a sharded Llama with a ``tokenizer.model`` of bytes and lower-case letters."""
    save_llama(folder, **({"vocab_size": 320, "shard": "100KB"} | config))
    (folder / "tokenizer.model").write_bytes(vocabulary(sentinels=sentinels))
    return folder


def vocabulary(*, sentinels: bool = False) -> bytes:
    """Return a SentencePiece vocabulary of the Llama family: 286 pieces, with infilling sentinels 290."""
    control = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    pieces = control + [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    pieces += [(letter, float(-n), 1) for n, letter in enumerate("▁abcdefghijklmnopqrstuvwxyz")]
    trainer = [(number, len(pieces) if number == 4 else value) for number, value in TRAINER]
    return write_proto(pieces + (SENTINELS if sentinels else []), trainer)


def change_config(folder: Path, **changes: Any) -> None:
    """Change entries of ``config.json``; None removes one."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
