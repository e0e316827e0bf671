"""Llama-family checkpoints that ship their SentencePiece vocabulary only as Hugging Face's ``tokenizer.json``.

Knows no prompts and no weights; torch-free.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as RustTokenizer

from inference.text.llama import LlamaTokenizer
from inference.text.pieces import BEGIN, END, END_OF_INFILL, NAMED, UNKNOWN, read_json


class ByteFallbackTokenizer(LlamaTokenizer):
    """A ``tokenizer.json`` whose model is BPE with byte fallback.

    It is as exact as the file: the order of its merges is taken as it stands.

    Raises ``ValueError`` for a file that is damaged; ``TokenizerError`` for one of another family or checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        data = read_json(folder / "tokenizer.json")
        vocabulary: dict[str, int] = data["model"]["vocab"]
        pieces = [""] * (max(vocabulary.values()) + 1)
        for piece, i in vocabulary.items():
            pieces[i] = piece
        special = {token["content"] for token in data.get("added_tokens", []) if token.get("special")}
        special |= NAMED | {BEGIN, END, UNKNOWN} | {piece for piece in vocabulary if piece.startswith(END_OF_INFILL)}
        control = {vocabulary[piece] for piece in special if piece in vocabulary}
        rust = RustTokenizer.from_str(json.dumps(_text_only(data)))
        super().__init__(pieces, control, folder, lambda text: rust.encode(text, add_special_tokens=False).ids)


def _text_only(data: dict[str, Any]) -> dict[str, Any]:
    """The same tokenizer without anything that would turn text into control tokens: added tokens and their merges."""
    model = data["model"]
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    merges = [pair for pair in pairs if "".join(pair) not in NAMED]
    return data | {"added_tokens": [], "post_processor": None, "model": model | {"merges": merges}}
