"""A Llama's dimensions, and its parameters and bytes of weights and KV cache. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from inference.errors import CodeLlamaError

Format = Literal["nf4", "nf4-double", "int4", "int8", "bf16", "fp32"]
"""The format of the linear layers in memory. With NF4 the embeddings, the head and the norms stay bfloat16.

int4 and int8 are for CPUs (``inference.native``): the head has 8 bits, the embedding the checkpoint's type.
"""

FORMATS: tuple[Format, ...] = get_args(Format)

NF4_BLOCK = 64
"""Weights per scale (QLoRA, Dettmers et al. 2023, arXiv 2305.14314, section 3; bitsandbytes' default)."""

CHUNK = 512
"""Maximum number of prompt tokens in one forward pass; the planner reserves activations for as many."""

LOGIT_ROWS = 16
"""Maximum number of positions with logits in one forward pass: the last token and a draft to verify."""

SCALE_BLOCK = 256
"""Scales per second-level scale under double quantisation (same section)."""


class ShapeError(CodeLlamaError, ValueError):
    """A checkpoint's config.json does not describe a Llama."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama's dimensions, as in its config.json. Biases are not counted; no Code Llama has any.

    Attributes:
        vocab: rows of the embedding.
        hidden: width of the residual stream.
        layers: decoder layers.
        heads: query heads.
        kv_heads: key and value heads; fewer than ``heads`` under grouped-query attention (arXiv 2305.13245).
        intermediate: width of the MLP.
        head_dim: width of one head.
        rope_theta: base of the rotary embedding (RoPE, arXiv 2104.09864).
        positions: longest sequence in training, in tokens.
        tied: the output head shares the embedding's weights.
    """

    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    head_dim: int = 128
    rope_theta: float = 1e6
    positions: int = 16_384
    tied: bool = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Shape:
        """Read the shape from a parsed config.json of transformers 4 or 5. Raises ShapeError if it is not a Llama's."""
        if config.get("model_type", "llama") != "llama":
            raise ShapeError(f"This checkpoint is a {config['model_type']} model; only Llama models can be loaded.")
        try:
            hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
            rope = config.get("rope_parameters") or config
            return cls(
                vocab=int(config["vocab_size"]),
                hidden=hidden,
                layers=int(config["num_hidden_layers"]),
                heads=heads,
                kv_heads=int(config.get("num_key_value_heads") or heads),
                intermediate=int(config["intermediate_size"]),
                head_dim=int(config.get("head_dim") or hidden // heads),
                rope_theta=float(rope.get("rope_theta") or 10_000),
                positions=int(config.get("max_position_embeddings") or 2048),
                tied=bool(config.get("tie_word_embeddings", False)),
            )
        except KeyError as missing:
            raise ShapeError(f"The checkpoint's config.json has no {missing.args[0]}; pull it again.") from None
        except (TypeError, ValueError, AttributeError, ZeroDivisionError) as wrong:
            raise ShapeError(f"The checkpoint's config.json can't be understood ({wrong}); pull it again.") from None

    @classmethod
    def from_folder(cls, folder: Path) -> Shape:
        """Read the shape of the checkpoint in ``folder``. Raises ShapeError if its config.json is missing or broken."""
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            raise ShapeError(f"{folder / 'config.json'} can't be read ({problem}); pull the model again.") from None
        if not isinstance(config, dict):
            raise ShapeError(f"{folder / 'config.json'} holds no object; pull the model again.")
        return cls.from_config(config)

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """(out features, in features) of one layer's linear layers: q, k, v, o, gate, up, down."""
        query, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = ((query, self.hidden), (kv, self.hidden), (kv, self.hidden), (self.hidden, query))
        mlp = ((self.intermediate, self.hidden), (self.intermediate, self.hidden), (self.hidden, self.intermediate))
        return attention + mlp

    @property
    def linear(self) -> int:
        """Parameters of all linear layers but the head; these are quantised."""
        return self.layers * sum(out * inner for out, inner in self.matrices)

    @property
    def largest_matrix(self) -> int:
        """Parameters of the largest linear layer but the head."""
        return max(out * inner for out, inner in self.matrices)

    @property
    def unquantised(self) -> int:
        """Parameters of the embedding, the head (unless tied) and the norms."""
        return (1 if self.tied else 2) * self.vocab * self.hidden + (2 * self.layers + 1) * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.linear + self.unquantised

    def weight_bytes(self, form: Format) -> int:
        """Return the bytes of the weights in ``form``, without bitsandbytes' tables (about 1 KiB per matrix)."""
        if form == "fp32":
            return 4 * self.parameters
        if form == "bf16":
            return 2 * self.parameters
        if form in ("int8", "int4"):
            return self._native_bytes(8 if form == "int8" else 4)
        scales = _double_scales if form == "nf4-double" else _scales
        return self.linear // 2 + self.layers * sum(scales(o * i) for o, i in self.matrices) + 2 * self.unquantised

    def _native_bytes(self, bits: int) -> int:
        """Return the bytes of ``native.packed_weights``: matrices, 8-bit head, 16-bit embedding, float32 norms."""
        embedding, group = self.vocab * self.hidden, 32
        head = embedding * (8 * group + 32) // (8 * group)
        norms = 4 * (2 * self.layers + 1) * self.hidden
        return self.linear * (bits * group + 32) // (8 * group) + head + 2 * embedding + norms

    def kv_bytes_per_token(self, value_bytes: int = 2) -> int:
        """Return the bytes of one token's keys and values in all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * value_bytes


def _scales(weights: int) -> int:
    """Return the bytes of one matrix's float32 scales."""
    return 4 * -(-weights // NF4_BLOCK)


def _double_scales(weights: int) -> int:
    """Return the bytes of one matrix's 8-bit scales and of their own float32 scales."""
    blocks = -(-weights // NF4_BLOCK)
    return blocks + 4 * -(-blocks // SCALE_BLOCK)
