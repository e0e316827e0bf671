"""A small random Llama and a byte tokenizer: built in milliseconds, the same every time."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM

EOS, IM_START, IM_END = 256, 257, 258
VOCABULARY = 259


def tiny_config(**changes) -> LlamaConfig:
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "bos_token_id": None,
        "eos_token_id": EOS,
        "pad_token_id": EOS,
        **changes,
    }
    return LlamaConfig(**settings)


def tiny_reference(seed: int = 0, **changes) -> LlamaForCausalLM:
    """Return transformers' model in float32, with weights so large that no two logits are nearly equal."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(tiny_config(**changes)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.normal_(0.0, 0.3)
    return model


class ByteTokenizer:
    """One token per byte; control tokens have higher ids."""

    vocab_size = VOCABULARY
    bos_id = None
    eos_ids = frozenset({EOS})

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    encode_continuation = encode

    def piece_bytes(self, token: int) -> bytes:
        return bytes([token]) if token < 256 else b""

    def control_id(self, piece: str) -> int | None:
        return {"<|im_start|>": IM_START, "<|im_end|>": IM_END, "<|endoftext|>": EOS}.get(piece)
