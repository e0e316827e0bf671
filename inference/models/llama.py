"""Forward pass of the Llama architecture over weights that transformers loaded.

It calls the loaded linear modules, so the same code serves float32, bfloat16 and bitsandbytes' 4-bit weights. A parity
test holds it to transformers' ``modeling_llama.py``.

Sources: Llama (Touvron et al. 2023, arXiv 2302.13971), section 2.2; RoPE (Su et al. 2021, arXiv 2104.09864);
grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right

from inference.models.language_model import KVSession

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM  # takes seconds to import

MATRICES = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "output": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
"""A block's linear layers by their names in Hugging Face checkpoints."""


@dataclass(frozen=True, slots=True)
class Block:
    """One decoder layer's modules and norm weights ``[hidden]``."""

    attention_norm: Tensor
    query: nn.Module
    key: nn.Module
    value: nn.Module
    output: nn.Module
    mlp_norm: Tensor
    gate: nn.Module
    up: nn.Module
    down: nn.Module


class LoraLinear(nn.Module):
    """A linear layer plus its LoRA: ``a`` is ``[rank, in]``, ``b`` is ``[out, rank]`` and includes the scale."""

    def __init__(self, linear: nn.Module, a: Tensor, b: Tensor) -> None:
        super().__init__()
        self.linear = linear
        self.a, self.b = a, b

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in]`` -> ``[..., out]``."""
        return self.linear(x) + F.linear(F.linear(x, self.a), self.b)


class Llama:
    """A ``LanguageModel`` computed by torch; ``dtype`` is that of activations and of the KV cache."""

    def __init__(self, loaded: LlamaForCausalLM) -> None:
        self.config = loaded.config
        self.device = loaded.model.embed_tokens.weight.device
        self.dtype = loaded.model.embed_tokens.weight.dtype
        self.heads: int = self.config.num_attention_heads
        self.kv_heads: int = self.config.num_key_value_heads or self.heads
        self.head_dim: int = self.config.head_dim or self.config.hidden_size // self.heads
        self.eps = self.config.rms_norm_eps
        self._embed = loaded.model.embed_tokens
        self._rotary = loaded.model.rotary_emb
        self._blocks = [_block(layer) for layer in loaded.model.layers]
        self._norm = loaded.model.norm.weight
        self._head = loaded.lm_head

    def with_low_rank(self, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> Llama:
        """See ``LanguageModel.with_low_rank``."""
        other = copy(self)
        other._blocks = [_adapted(block, f"model.layers.{n}.", pairs) for n, block in enumerate(self._blocks)]
        return other

    @torch.inference_mode()
    def forward(self, ids: list[int], kv: KVSession, *, every_position: bool = False) -> Tensor:
        """See ``LanguageModel.forward``: returns float32 logits ``[1, vocab]`` or ``[len(ids), vocab]``."""
        start, end = kv.length, kv.length + len(ids)
        tokens = torch.tensor(ids, device=self.device)
        positions = torch.arange(start, end, device=self.device)
        x = self._embed(tokens)[None]
        cos, sin = self._rotary(x, positions[None])
        rope = cos[:, None], sin[:, None]
        mask = _mask(len(ids), end, self.device)
        for block, keys, values in zip(self._blocks, kv.keys, kv.values, strict=True):
            x = x + self._attend(block, self._rms(x, block.attention_norm), rope, keys, values, start, mask)
            h = self._rms(x, block.mlp_norm)
            x = x + block.down(F.silu(block.gate(h)) * block.up(h))
        kv.length = end
        x = x if every_position else x[:, -1:]
        return self._head(self._rms(x, self._norm))[0].float()

    def _attend(
        self,
        block: Block,
        x: Tensor,
        rope: tuple[Tensor, Tensor],
        keys: Tensor,
        values: Tensor,
        start: int,
        mask: Tensor | None,
    ) -> Tensor:
        """Self-attention of ``x`` ``[1, T, hidden]`` over the cache ``[1, kv_heads, capacity, head_dim]``.

        ``rope`` is (cos, sin), each ``[1, 1, T, head_dim]``; ``mask`` is bool ``[T, start + T]`` or None. Writes new
        keys and values at ``start`` and returns ``[1, T, hidden]``.
        """
        length = x.shape[1]
        end = start + length
        q = _rotate(self._split(block.query(x), self.heads), *rope)
        keys[:, :, start:end] = _rotate(self._split(block.key(x), self.kv_heads), *rope)
        values[:, :, start:end] = self._split(block.value(x), self.kv_heads)
        mixed = F.scaled_dot_product_attention(
            q,
            keys[:, :, :end],
            values[:, :, :end],
            attn_mask=mask,
            is_causal=start == 0 and length > 1,
            enable_gqa=self.heads != self.kv_heads,
        )
        return block.output(mixed.transpose(1, 2).reshape(1, length, self.heads * self.head_dim))

    @torch.inference_mode()
    def step(self, token: Tensor, position: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
        """Compute ``forward`` for one token with static shapes, so that it can be captured as a CUDA graph.

        ``token`` and ``position`` are int64 ``[1]`` on the device. The buffers, one per layer ``[1, kv_heads, capacity,
        head_dim]``, are read whole, with later positions masked. Returns logits ``[1, vocab]`` in ``dtype``.
        """
        x = self._embed(token)[None]
        cos, sin = self._rotary(x, position[None])
        rope = cos[:, None], sin[:, None]
        seen = (torch.arange(keys[0].shape[2], device=self.device) <= position)[None, None, None]
        for block, cached_keys, cached_values in zip(self._blocks, keys, values, strict=True):
            h = self._rms(x, block.attention_norm)
            cached_keys.index_copy_(2, position, _rotate(self._split(block.key(h), self.kv_heads), *rope))
            cached_values.index_copy_(2, position, self._split(block.value(h), self.kv_heads))
            q = _rotate(self._split(block.query(h), self.heads), *rope)
            # Query heads of one group go where further queries would be: plain kernels then compute grouped attention.
            q = q.view(1, self.kv_heads, self.heads // self.kv_heads, self.head_dim)
            mixed = F.scaled_dot_product_attention(q, cached_keys, cached_values, attn_mask=seen)
            x = x + block.output(mixed.reshape(1, 1, self.heads * self.head_dim))
            h = self._rms(x, block.mlp_norm)
            x = x + block.down(F.silu(block.gate(h)) * block.up(h))
        return self._head(self._rms(x, self._norm))[0]

    def _split(self, x: Tensor, heads: int) -> Tensor:
        """``[1, T, heads * head_dim]`` -> ``[1, heads, T, head_dim]``."""
        return x.view(1, x.shape[1], heads, self.head_dim).transpose(1, 2)

    def _rms(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, weight.shape, weight, self.eps)


def _block(layer: Any) -> Block:
    attention, mlp = layer.self_attn, layer.mlp
    return Block(
        attention_norm=layer.input_layernorm.weight,
        query=attention.q_proj,
        key=attention.k_proj,
        value=attention.v_proj,
        output=attention.o_proj,
        mlp_norm=layer.post_attention_layernorm.weight,
        gate=mlp.gate_proj,
        up=mlp.up_proj,
        down=mlp.down_proj,
    )


def _adapted(block: Block, prefix: str, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> Block:
    named = {field: f"{prefix}{path}" for field, path in MATRICES.items()}
    return replace(
        block, **{f: LoraLinear(getattr(block, f), *pairs[name]) for f, name in named.items() if name in pairs}
    )


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply RoPE to ``x`` ``[1, heads, T, head_dim]``, in the half-split layout of Hugging Face checkpoints."""
    half = x.shape[-1] // 2
    rotated = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos + rotated * sin


def _mask(new: int, total: int, device: torch.device) -> Tensor | None:
    """Return a causal mask, bool ``[new, total]``: the i-th new token sees all tokens before it and itself.

    Return None where the kernel needs no mask: for one token, or if all tokens are new (``is_causal``). On CUDA return
    torch's symbolic causal bias. With a tensor mask and grouped-query attention torch would fall back to an unfused
    kernel, which holds all attention weights in memory.
    """
    if new in (1, total):
        return None
    if device.type == "cuda":
        return causal_lower_right(new, total)
    return torch.ones(new, total, dtype=torch.bool, device=device).tril(total - new)
