"""A tiny Llama as a GGUF file and as the wheel of a starter."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
from tokenizers import pre_tokenizers

from inference.commands.pull_command import SENTINELS
from inference.download.wheel import Wheel

UNUSED = [*SENTINELS]
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *UNUSED]
MERGES = ["1 2", "h e"]  # the first applies only if digits are not split
PIECES = [*CONTROL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "12", "he"]
LAYERS, HIDDEN, INNER, HEADS, KV_HEADS = 2, 64, 96, 4, 2


def write_gguf(path: Path, *, architecture: str = "llama", pre: str = "smollm", extra_tensor: str = "") -> Path:
    """Write random weights, quantized by tensor as in the starter's file: Q4_1, Q8_0 and float32."""
    writer = GGUFWriter(path, architecture)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100000.0)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(len(PIECES))
    _add_tokenizer(writer, pre)
    for name, values, kind in _tensors(extra_tensor):
        writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_wheel(folder: Path, **gguf_options: Any) -> Path:
    """Write a wheel that pip accepts and that holds a GGUF file."""
    gguf = write_gguf(folder / "tiny.gguf", **gguf_options)
    path = folder / "tiny_starter-1.0-py3-none-any.whl"
    info = "tiny_starter-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(gguf, "tiny_starter/tiny.gguf")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-starter\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def pinned_wheel(wheel: Path, adapter: Path | None = None) -> Wheel:
    """Return the pinned source of such a wheel, with the folder of an adapter to merge."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return Wheel("tiny-starter==1.0", digest, 10_000_000, SENTINELS, adapter)


def _add_tokenizer(writer: GGUFWriter, pre: str) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(PIECES)
    writer.add_token_types([3] * len(CONTROL) + [1] * (len(PIECES) - len(CONTROL)))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)


def _tensors(extra: str) -> Iterator[tuple[str, np.ndarray, GGMLQuantizationType]]:
    random = np.random.default_rng(7)
    kinds = GGMLQuantizationType
    kv = HIDDEN // HEADS * KV_HEADS

    def matrix(*shape: int) -> np.ndarray:
        return random.normal(0, 0.1, shape).astype(np.float32)

    yield "token_embd.weight", matrix(len(PIECES), HIDDEN), kinds.Q8_0
    for n in range(LAYERS):
        shapes = {
            "attn_q": (HIDDEN, HIDDEN),
            "attn_k": (kv, HIDDEN),
            "attn_v": (kv, HIDDEN),
            "attn_output": (HIDDEN, HIDDEN),
            "ffn_gate": (INNER, HIDDEN),
            "ffn_up": (INNER, HIDDEN),
            "ffn_down": (HIDDEN, INNER),
        }
        for name, shape in shapes.items():
            yield f"blk.{n}.{name}.weight", matrix(*shape), kinds.Q4_1
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{n}.{name}.weight", 1 + matrix(HIDDEN), kinds.F32
    yield "output_norm.weight", 1 + matrix(HIDDEN), kinds.F32
    if extra:
        yield extra, matrix(HIDDEN), kinds.F32
