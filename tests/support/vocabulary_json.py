"""Write a SentencePiece vocabulary as ``tokenizer.json``, as converters do."""

from __future__ import annotations

import json
from pathlib import Path

from support.vocabulary import Piece


def write_tokenizer_json(path: Path, pieces: list[Piece]) -> None:
    """Return all merges of two pieces into a third, best score first."""
    ids = {text: i for i, (text, _, _) in enumerate(pieces)}
    merges = [
        (-score, ids[text[:cut]], ids[text[cut:]], [text[:cut], text[cut:]])
        for text, score, _ in pieces
        for cut in range(1, len(text))
        if text[:cut] in ids and text[cut:] in ids
    ]
    special = [{"id": i, "content": text} for text, i in ids.items() if text in ("<unk>", "<s>", "</s>")]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    model = {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "dropout": None}
    model |= {"continuing_subword_prefix": None, "end_of_word_suffix": None, "vocab": ids}
    space = [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    data = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [token | flags for token in special],
        "normalizer": {"type": "Sequence", "normalizers": space},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": model | {"merges": [pair for *_, pair in sorted(merges)]},
    }
    path.write_text(json.dumps(data), "utf-8")
