"""Inspect a Hugging Face checkpoint folder by its headers: shapes and sizes, without reading weights. Torch-free."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from inference.errors import CodeLlamaError
from inference.models.shape import Shape

WeightFormat = Literal["fp32", "bf16", "nf4"]
"""Formats that transformers loads."""

NativeFormat = Literal["int8", "int4"]
"""Formats of the C library (``inference.native``)."""

Extent = tuple[int, ...]
"""A tensor's shape."""

Stored = tuple[Extent, str]
"""A tensor's shape in the file, and its type by safetensors' name, such as ``BF16`` or ``U8``."""

PACKED = ".quant_state.bitsandbytes__nf4"
"""Suffix of the tensor that holds the quantisation state of a 4-bit weight (bitsandbytes)."""

REQUIRED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
)


class LoadError(CodeLlamaError):
    """A checkpoint can't be loaded."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint folder that, by its headers, holds a complete Llama.

    Attributes:
        folder: its path.
        config: its ``config.json``.
        shapes: the shape of every tensor of the architecture, by name.
    """

    folder: Path
    config: dict[str, Any]
    shapes: dict[str, Extent]

    @property
    def quantised(self) -> bool:
        """True if its linear layers are stored in NF4."""
        return "quantization_config" in self.config

    @property
    def double_quant(self) -> bool:
        """True if the scales of its NF4 weights are quantised too."""
        return bool(self.config.get("quantization_config", {}).get("bnb_4bit_use_double_quant"))

    @property
    def parameters(self) -> int:
        """Number of weights; a tied head counts once."""
        return sum(map(prod, self.shapes.values()))

    def weight_bytes(
        self, weight_format: WeightFormat | NativeFormat, activation_bytes: int, *, double_quant: bool = False
    ) -> int:
        """Return the bytes of the loaded weights.

        Under NF4 the embedding, the head and the norms have ``activation_bytes`` each, as activations do. NF4 takes 4
        bits per weight and a float32 scale per 64 weights. Double quantisation stores the scales in 8 bits, with one
        float32 per 256 scales (QLoRA, Dettmers et al. 2023, arXiv 2305.14314, section 3).
        """
        if weight_format in ("int8", "int4"):
            return Shape.from_config(self.config).weight_bytes(weight_format)
        linear = sum(prod(shape) for name, shape in self.shapes.items() if "_proj" in name)
        if weight_format == "nf4":
            scales = 1 / 64 + 4 / (64 * 256) if double_quant else 4 / 64
            return int(linear * (0.5 + scales)) + (self.parameters - linear) * activation_bytes
        return self.parameters * (4 if weight_format == "fp32" else 2)

    def mapped_bytes(self, weight_format: WeightFormat, activation_bytes: int, *, repacked: bool = False) -> int:
        """Return the part of ``weight_bytes`` that a CPU uses as stored, mapped from the files.

        ``repacked`` NF4 weights are rewritten into anonymous memory at the first forward pass.
        """
        all_bytes = self.weight_bytes(weight_format, activation_bytes, double_quant=self.double_quant)
        rest = activation_bytes * sum(prod(shape) for name, shape in self.shapes.items() if "_proj" not in name)
        stored = self.config.get("dtype") or self.config.get("torch_dtype")
        as_stored = stored == ("float32" if activation_bytes == 4 else "bfloat16")
        linear_as_stored = (self.quantised and not repacked) if weight_format == "nf4" else as_stored
        return (all_bytes - rest if linear_as_stored else 0) + (rest if as_stored else 0)


def inspect(folder: Path) -> Checkpoint:
    """Read a checkpoint's headers and check them against the Llama architecture. Raises LoadError."""
    config = read_config(folder)
    shapes = llama_shapes(config)
    _check_tensors(folder, shapes, _stored(folder))
    _check_vocabulary(folder, config["vocab_size"])
    return Checkpoint(folder, config, shapes)


def llama_shapes(config: dict[str, Any]) -> dict[str, Extent]:
    """Return the shape of every tensor of a Llama with this config, by its name in Hugging Face checkpoints."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or hidden // heads
    queries, keys = heads * head_dim, (config.get("num_key_value_heads") or heads) * head_dim
    shapes: dict[str, Extent] = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    layer: dict[str, Extent] = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    for n in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{n}.{name}.weight": shape for name, shape in layer.items()}
    shapes["model.norm.weight"] = (hidden,)
    if not config.get("tie_word_embeddings"):
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    return shapes


def read_config(folder: Path) -> dict[str, Any]:
    """Read ``config.json`` and check that the forward pass supports it. Raises LoadError."""
    if not folder.is_dir():
        raise LoadError(f"There is no checkpoint folder {folder}.")
    config = _json(folder / "config.json")
    kind = config.get("model_type")
    if kind != "llama":
        raise LoadError(f"The checkpoint in {folder} has the architecture {kind!r}. Only 'llama' can be loaded.")
    if missing := [key for key in REQUIRED if not isinstance(config.get(key), int)]:
        raise LoadError(f"The config.json in {folder} has no {missing[0]}.")
    if config.get("hidden_act", "silu") != "silu":
        raise LoadError(f"The checkpoint in {folder} uses the activation {config['hidden_act']!r}, not Llama's 'silu'.")
    _check_quantisation(folder, config.get("quantization_config"))
    return config


def _check_quantisation(folder: Path, settings: dict[str, Any] | None) -> None:
    if settings is None:
        return
    if not (settings.get("load_in_4bit") and settings.get("bnb_4bit_quant_type") == "nf4"):
        kind = settings.get("quant_method", "an unknown method")
        raise LoadError(
            f"The checkpoint in {folder} is quantised by {kind}. "
            "Only bitsandbytes' NF4 and 16 or 32 bit weights can be loaded."
        )


def shards(folder: Path) -> list[Path]:
    """Return the weight files of a checkpoint. Raises LoadError if one is missing."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        names = _json(index).get("weight_map", {}).values()
        found = [folder / name for name in sorted(set(names))]
    else:
        found = [folder / "model.safetensors"]
    for shard in found:
        if not shard.is_file():
            pickled = any(folder.glob("pytorch_model*.bin"))
            hint = " Its .bin files are pickles, which can run code, and are not read." if pickled else ""
            raise LoadError(f"The checkpoint in {folder} lacks {shard.name}.{hint}")
    return found


def _stored(folder: Path) -> dict[str, Stored]:
    stored: dict[str, Stored] = {}
    for shard in shards(folder):
        try:
            with safe_open(shard, framework="numpy") as tensors:
                slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118
                stored |= {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
        except (SafetensorError, OSError) as error:
            raise LoadError(f"{shard} is damaged or cut short ({error}).") from error
    return stored


def _check_tensors(folder: Path, expected: dict[str, Extent], stored: dict[str, Stored]) -> None:
    """Check names and shapes; transformers would fill missing tensors with random weights and only log it."""
    for name, shape in expected.items():
        if name not in stored:
            raise LoadError(f"The checkpoint in {folder} lacks the tensor {name}.")
        found, dtype = stored[name]
        if found != shape and not (f"{name}{PACKED}" in stored and _packed_bytes(found, dtype) == prod(shape) // 2):
            raise LoadError(f"In {folder} the tensor {name} has the shape {found}; config.json says {shape}.")


def _packed_bytes(shape: Extent, dtype: str) -> int:
    """Return the bytes of an NF4 tensor, which may have any type (bitsandbytes' ``quant_storage``)."""
    return prod(shape) * int("".join(filter(str.isdigit, dtype)) or 0) // 8


def _check_vocabulary(folder: Path, rows: int) -> None:
    """Check that every token id has a row in the embedding.

    Added tokens do not count: some checkpoints list added tokens without rows, and these are never used.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        return
    vocabulary = _json(path).get("model", {}).get("vocab", {})
    ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
    if (needed := max(ids, default=-1) + 1) > rows:
        raise LoadError(f"The tokenizer in {folder} has {needed:,} tokens, but the model has embeddings for {rows:,}.")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise LoadError(f"The checkpoint in {path.parent} lacks {path.name}.") from error
    except (OSError, ValueError) as error:
        raise LoadError(f"{path} can't be read ({error}).") from error
    if not isinstance(content, dict):
        raise LoadError(f"{path} holds no JSON object.")
    return content
