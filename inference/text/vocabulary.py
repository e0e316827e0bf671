"""Llama-family vocabularies: control tokens, pieces as bytes, and lookup of tokens by their first bytes.

Shared by the tokenizers that read ``tokenizer.model`` and ``tokenizer.json``. Torch-free.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from pathlib import Path
from typing import Any, Literal

from inference.text.tokenizer import Tokenizer

PREFIX, SUFFIX, MIDDLE, END_OF_INFILL = "▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"
"""Infilling sentinels (arXiv 2308.12950, section 2.3; facebookresearch/codellama ``llama/tokenizer.py``)."""
Layout = Literal["psm", "spm"]
"""Order of an infilling prompt: prefix-suffix-middle or suffix-prefix-middle (arXiv 2308.12950, section 2.3).

PSM suits a cursor anywhere: training split documents at random characters, so a half-typed word needs no token healing.
SPM is better on whole lines, and a typed character appends to the prompt. But training tokenized its prefix and middle
as one text, so a prefix that ends inside a token needs token healing (section 3.2, appendix E).
"""

STEP = "<step>"
"""End of each message of CodeLlama-70b-Instruct (facebookresearch/codellama ``llama/tokenizer.py``)."""
BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
NAMED = frozenset({PREFIX, SUFFIX, MIDDLE, END_OF_INFILL, STEP})

SPACE = "▁"
CONTINUED = "☺"
"""Prepended to a text to suppress the implicit space: no piece merges this character with another."""

_MARKER = re.compile(r"▁?(<[^<>\s]+>)+")
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def is_marker(piece: str) -> bool:
    """Return True for a whole marker (``▁<PRE>``, ``<step>``), False for a part of one (``▁<PRE``)."""
    return _MARKER.fullmatch(piece) is not None


def text_bytes(piece: str) -> bytes:
    """Return the UTF-8 bytes of an ordinary piece."""
    byte = _BYTE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace(SPACE, " ").encode()


def added_tokens(folder: Path) -> dict[str, int]:
    """Return the ids of tokens that a checkpoint adds to its vocabulary file, such as ``<step>``, by name.

    The large ``tokenizer.json`` is read only if the two small files name none. Raises ``ValueError`` if a file is not
    JSON of the expected form.
    """
    added = dict(read_json(folder / "added_tokens.json"))
    decoder = read_json(folder / "tokenizer_config.json").get("added_tokens_decoder", {})
    added |= {token["content"]: int(i) for i, token in decoder.items()}
    if not added:
        added = {
            token["content"]: token["id"] for token in read_json(folder / "tokenizer.json").get("added_tokens", [])
        }
    return added


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, empty if there is no file. Raises ``ValueError`` if it is not an object."""
    if not path.exists():
        return {}
    data = json.loads(path.read_text("utf-8"))
    if not isinstance(data, dict):
        raise ValueError(f"{path.name} does not hold a JSON object")
    return data


class Vocabulary:
    """The bytes of every token in sorted order: tokens that begin with given bytes are one slice.

    Attributes:
        longest: length of the longest token, in bytes.
        silent: ids without bytes: control tokens, and rows that pad the embedding.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        pieces = [(tokenizer.piece_bytes(i), i) for i in range(tokenizer.vocab_size)]
        self.silent = frozenset(i for piece, i in pieces if not piece)
        self._sorted = sorted((piece, i) for piece, i in pieces if piece)
        self._ids = dict(reversed(self._sorted))
        self.longest = max((len(piece) for piece in self._ids), default=0)

    def agreeing(self, wanted: bytes) -> list[int]:
        """Return the ids whose bytes begin with ``wanted`` or are a prefix of it."""
        low = bisect_left(self._sorted, (wanted, -1))
        high = bisect_left(self._sorted, (wanted + b"\xff" * 8, -1)) if wanted else len(self._sorted)
        longer = [i for _, i in self._sorted[low:high]]
        shorter = (wanted[:n] for n in range(1, len(wanted)))
        return longer + [self._ids[piece] for piece in shorter if piece in self._ids]

    def begins(self, wanted: bytes) -> bool:
        """Return True if the bytes of any token begin with ``wanted``."""
        at = bisect_left(self._sorted, (wanted, -1))
        return at < len(self._sorted) and self._sorted[at][0].startswith(wanted)
