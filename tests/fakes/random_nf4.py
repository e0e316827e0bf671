"""Checkpoints of any Llama shape with random NF4 weights, written as bitsandbytes saves them, one shard at a time.

For measuring what size costs: memory, loading and speed of a 7B without a 7B. Its output is meaningless, but
its logits are finite. Also a command: ``python tests/fakes/random_nf4.py codellama-7b FOLDER [--layers N] [--double]``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from inference.models import store
from inference.models.catalog import find
from inference.models.checkpoint import llama_shapes
from inference.models.identify import Provenance, Trained
from inference.models.shape import NF4_BLOCK, SCALE_BLOCK, Shape

SHARD_BYTES = 1_000_000_000

Tensors = dict[str, torch.Tensor]


@dataclass
class Writer:
    """Collects tensors and writes full shards, so that at most one shard is in memory."""

    folder: Path
    shard_bytes: int
    pending: Tensors
    weight_map: dict[str, str]
    shards: int = 0

    def add(self, tensors: Tensors) -> None:
        self.pending |= tensors
        if sum(tensor.nbytes for tensor in self.pending.values()) >= self.shard_bytes:
            self.flush()

    def flush(self) -> None:
        if self.pending:
            self.shards += 1
            name = f"model-{self.shards:05}.safetensors"
            save_file(self.pending, self.folder / name, {"format": "pt"})
            self.weight_map |= dict.fromkeys(self.pending, name)
            self.pending = {}


def save_random_nf4(
    folder: Path, shape: Shape, *, double_quant: bool = False, shard_bytes: int = SHARD_BYTES, seed: int = 0
) -> Path:
    """Write a complete checkpoint of this ``shape`` to ``folder``, with a made-up token for every embedding row."""
    folder.mkdir(parents=True, exist_ok=True)
    config = config_of(shape)
    writer = Writer(folder, shard_bytes, {}, {})
    generator = np.random.default_rng(seed)
    for name, size in llama_shapes(config).items():
        writer.add(_tensors(name, size, double_quant, generator))
    writer.flush()
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": _quantisation(double_quant)}))
    write_vocabulary(folder / "tokenizer.json", shape.vocab)
    index = {"metadata": {}, "weight_map": writer.weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def install_random_nf4(model_id: str, shape: Shape) -> None:
    """Install such a checkpoint under this name, as a model for prefix-only completion."""
    provenance = Provenance("random", "none", "", Trained(infill=False, chat=None))
    with store.locked(model_id, lambda: None), store.installing(model_id, "random", 0) as staging:
        save_random_nf4(staging.checkpoint, shape)
        staging.facts.update(asdict(provenance))


def config_of(shape: Shape) -> dict[str, Any]:
    """Return the config.json of a Llama of this shape, without quantisation."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": shape.positions,
        "rope_theta": shape.rope_theta,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "tie_word_embeddings": shape.tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def write_vocabulary(path: Path, size: int) -> None:
    """Return a Llama-like ``tokenizer.json`` that encodes text byte by byte; no text contains its other tokens."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [f"word{n}" for n in range(size - len(pieces))]
    special = [{"id": n, "content": pieces[n], "special": True} for n in range(3)]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    model = {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "merges": []}
    vocabulary = {"vocab": {piece: n for n, piece in enumerate(pieces)}}
    path.write_text(
        json.dumps({"version": "1.0", "added_tokens": [t | flags for t in special], "model": model | vocabulary})
    )


def _quantisation(double_quant: bool) -> dict[str, Any]:
    return {
        "quant_method": "bitsandbytes",
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_compute_dtype": "bfloat16",
        "bnb_4bit_use_double_quant": double_quant,
    }


def _tensors(name: str, size: Sequence[int], double_quant: bool, generator: np.random.Generator) -> Tensors:
    if "_proj" in name:
        return dict(_packed(name, (size[0], size[1]), double_quant, generator))
    if len(size) == 1:
        return {name: torch.ones(size, dtype=torch.bfloat16)}
    rows = torch.from_numpy(generator.standard_normal(size, np.float32)).bfloat16()
    return {name: rows / math.sqrt(size[1]) if name == "lm_head.weight" else rows}


def _packed(
    name: str, size: tuple[int, int], double_quant: bool, generator: np.random.Generator
) -> Iterator[tuple[str, torch.Tensor]]:
    """Return one matrix's nibbles, scales and quantization state, by bitsandbytes' serializer.

    Its outputs are of the size of its inputs: uniform nibbles have a standard deviation of 0.5 times the scale.
    """
    from bitsandbytes.functional import QuantState, get_4bit_type, quantize_blockwise

    weights = size[0] * size[1]
    yield name, torch.from_numpy(generator.integers(0, 256, (weights // 2, 1), np.uint8))
    scales = torch.from_numpy(generator.random(weights // NF4_BLOCK, np.float32) + 0.5) * (2 / math.sqrt(size[1]))
    nested: dict[str, Any] = {}
    if double_quant:
        nested["offset"] = scales.mean()
        scales, nested["state2"] = quantize_blockwise(scales - nested["offset"], blocksize=SCALE_BLOCK)
    state = QuantState(
        absmax=scales,
        shape=torch.Size(size),
        code=get_4bit_type("nf4", device="cpu"),
        blocksize=NF4_BLOCK,
        quant_type="nf4",
        dtype=torch.bfloat16,
        **nested,
    )
    for part, tensor in state.as_dict(packed=True).items():
        yield f"{name}.{part}", tensor


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write a random NF4 checkpoint of a catalogue model's shape.")
    parser.add_argument("model", help="of the catalogue, e.g. codellama-7b")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, help="instead of the model's own number")
    parser.add_argument("--double", action="store_true", help="quantise the scales too")
    options = parser.parse_args(argv)
    shape = find(options.model).shape
    save_random_nf4(options.folder, replace(shape, layers=options.layers or shape.layers), double_quant=options.double)
    return 0


if __name__ == "__main__":
    sys.exit(main())
