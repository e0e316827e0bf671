"""Convert a GGUF file of the Llama architecture to a Hugging Face checkpoint folder in bfloat16.

A file with content that cannot be converted exactly (experts, scaled RoPE, another pre-tokenizer) is rejected. Sources:
the GGUF specification (ggml, ``docs/gguf.md``) and llama.cpp's ``convert_hf_to_gguf.py``, whose changes to the weights
are undone here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, ReaderTensor
from gguf.quants import dequantize
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from inference.errors import CodeLlamaError
from inference.system.terminal import OnProgress

TENSORS = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Hugging Face's module names by llama.cpp's. Names inside a layer omit the layer number."""

CONTROL = 3
"""``tokenizer.ggml.token_type`` of a control token (ggml's ``LLAMA_TOKEN_TYPE_CONTROL``)."""


class GGUFError(CodeLlamaError):
    """A GGUF file cannot be converted."""


def convert(gguf: Path, folder: Path, on_progress: OnProgress, renamed: Mapping[str, str] | None = None) -> None:
    """Write ``config.json``, ``model.safetensors``, ``tokenizer.json`` and ``tokenizer_config.json`` into ``folder``.

    ``on_progress`` counts parameters. ``renamed`` maps names of control tokens in the file to new names; their ids stay
    the same. Raises GGUFError if the file is damaged, is not a plain Llama, or lacks a token to rename.
    """
    try:
        reader = GGUFReader(gguf)
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise GGUFError(f"{gguf.name} is not a readable GGUF file ({error}).") from error
    fields = {name: field.contents() for name, field in reader.fields.items()}
    try:
        fields["tokenizer.ggml.tokens"] = _renamed_pieces(fields, renamed or {})
        config = llama_config(fields, tied=all(tensor.name != "output.weight" for tensor in reader.tensors))
        tokenizer = build_tokenizer(fields)
    except KeyError as error:
        raise GGUFError(f"{gguf.name} lacks the entry {error}.") from error
    _write_json(folder / "config.json", config)
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(fields))
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_weights(reader.tensors, config, folder / "model.safetensors", on_progress)


def llama_config(fields: dict[str, Any], *, tied: bool) -> dict[str, Any]:
    """Return the ``config.json`` for a GGUF file's metadata. ``tied``: the output head is the embedding.

    Raises KeyError if an entry is missing, GGUFError if the model is not a plain Llama.
    """
    _require_plain_llama(fields)
    heads = fields["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": fields.get("llama.attention.head_count_kv", heads),
        "head_dim": fields["llama.embedding_length"] // heads,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "max_position_embeddings": fields["llama.context_length"],
        "rms_norm_eps": _shortest_decimal(fields["llama.attention.layer_norm_rms_epsilon"]),
        "rope_parameters": {"rope_type": "default", "rope_theta": _shortest_decimal(fields["llama.rope.freq_base"])},
        "tie_word_embeddings": tied,
        "bos_token_id": fields.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": fields.get("tokenizer.ggml.eos_token_id"),
        "pad_token_id": fields.get("tokenizer.ggml.padding_token_id"),
        "dtype": "bfloat16",
    }


def build_tokenizer(fields: dict[str, Any]) -> Tokenizer:
    """Return the byte-level BPE tokenizer in a GGUF file's metadata, with the pre-tokenizer ``tokenizer.ggml.pre``.

    SmolLM's splits off every digit first (``tokenizer.json`` of HuggingFaceTB/SmolLM2-135M-Instruct; llama.cpp's
    ``LLAMA_VOCAB_PRE_TYPE_SMOLLM``). There is no unknown token, because user text would become a control token. So the
    few bytes that the vocabulary lacks (rare control characters, private planes) encode to nothing.
    """
    kind = fields["tokenizer.ggml.model"], fields["tokenizer.ggml.pre"]
    if kind != ("gpt2", "smollm"):
        raise GGUFError(f"The file's tokenizer is of the type {'/'.join(kind)}; only gpt2/smollm can be converted.")
    pieces = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))  # pyright: ignore[reportArgumentType]
    split_digits = pre_tokenizers.Digits(individual_digits=True)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split_digits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    control = [p for p, kind in zip(pieces, fields["tokenizer.ggml.token_type"], strict=True) if kind == CONTROL]
    tokenizer.add_special_tokens([AddedToken(piece, normalized=False, special=True) for piece in control])
    return tokenizer


def _renamed_pieces(fields: dict[str, Any], renamed: Mapping[str, str]) -> list[str]:
    """Return every piece by id. Only control tokens can be renamed, since merges refer to all others by name."""
    pieces, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    control = {piece for piece, kind in zip(pieces, kinds, strict=True) if kind == CONTROL}
    if missing := sorted(renamed.keys() - control):
        raise GGUFError(f"The file's vocabulary has no control token {missing[0]}.")
    return [renamed.get(piece, piece) for piece in pieces]


def _require_plain_llama(fields: dict[str, Any]) -> None:
    architecture = fields["general.architecture"]
    if architecture != "llama":
        raise GGUFError(f"The file holds a model of the architecture {architecture!r}; only 'llama' can be converted.")
    if fields.get("llama.rope.scaling.type", "none") != "none":
        raise GGUFError("The file's model uses scaled RoPE, which can't be converted.")


def _tokenizer_config(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the ``tokenizer_config.json`` that transformers needs; this project reads only ``tokenizer.json``."""
    pieces = fields["tokenizer.ggml.tokens"]
    ids = {name: fields.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")}
    tokens = {f"{name}_token": pieces[i] for name, i in ids.items() if i is not None}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": fields.get("tokenizer.chat_template"),
    } | tokens


def _write_weights(tensors: list[ReaderTensor], config: dict[str, Any], path: Path, on_progress: OnProgress) -> None:
    import torch
    from safetensors.torch import save_file

    total = sum(int(tensor.n_elements) for tensor in tensors)
    done, weights = 0, {}
    for tensor in tensors:
        name = hugging_face_name(tensor.name)
        values = _unpermuted(name, dequantize(tensor.data, tensor.tensor_type), config)
        weights[name] = torch.tensor(values).to(torch.bfloat16)
        done += int(tensor.n_elements)
        on_progress(done, total)
    save_file(weights, path, metadata={"format": "pt"})


def hugging_face_name(name: str) -> str:
    """Return Hugging Face's name of a tensor: ``blk.3.attn_q.weight`` is ``model.layers.3.self_attn.q_proj.weight``.

    Raises GGUFError for an unknown tensor.
    """
    match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", name)
    if match is None or match[2] not in TENSORS:
        raise GGUFError(f"The file holds the tensor {name}, which is not part of a Llama checkpoint.")
    layer = "" if match[1] is None else f"model.layers.{match[1]}."
    return f"{layer}{TENSORS[match[2]]}.weight"


def _unpermuted(name: str, values: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """Undo llama.cpp's order of query and key rows.

    llama.cpp interleaves the two halves of every head, ``[head, half, row]`` -> ``[head, row, half]``, because its RoPE
    rotates neighbouring rows, while Hugging Face's rotates row i with row i + head_dim / 2.
    """
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    count = next((n for key, n in heads.items() if f".{key}." in name), None)
    if count is None:
        return values
    return values.reshape(count, -1, 2, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)


def _shortest_decimal(single: float) -> float:
    """Return the shortest decimal of a single-precision value: 9.999999747e-06 -> 1e-05."""
    return float(str(np.float32(single)))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
