"""What pieces of a Llama-family vocabulary mean: bytes of text, or markers that no text may become.

Knows no encoder; shared by those that read ``tokenizer.model`` and ``tokenizer.json``.

A vocabulary looked up by bytes: which tokens begin as given bytes do. Torch-free; knows no prompts and no model.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from pathlib import Path
from typing import Any, Literal

from inference.text.tokenizer import Tokenizer

PREFIX, SUFFIX, MIDDLE, END_OF_INFILL = "▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"
"""The sentinels of infilling (Code Llama paper, section 2.3; facebookresearch/codellama ``llama/tokenizer.py``)."""
Layout = Literal["psm", "spm"]
"""Prefix-suffix-middle or suffix-prefix-middle.

PSM is for a cursor anywhere: in training its prefix was cut at random characters, so a half-typed word needs no token
healing. SPM is better on whole lines and lets a typed character append to the prompt, but there prefix and middle were
tokenised as one text: where the prefix does not end at a token boundary it wants token healing (paper, appendix E).
"""

STEP = "<step>"
"""What ends every message of the 70B Instruct model; the same source."""
BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
NAMED = frozenset({PREFIX, SUFFIX, MIDDLE, END_OF_INFILL, STEP})

SPACE = "▁"
CONTINUED = "☺"
"""Put before a text to keep the implicit space off it: no piece joins this character with another one."""

_MARKER = re.compile(r"▁?(<[^<>\s]+>)+")
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def is_marker(piece: str) -> bool:
    """Whether an appended piece is a whole marker (``▁<PRE>``, ``<step>``), not a mere part of one (``▁<PRE``)."""
    return _MARKER.fullmatch(piece) is not None


def text_bytes(piece: str) -> bytes:
    """The UTF-8 bytes an ordinary piece stands for."""
    byte = _BYTE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace(SPACE, " ").encode()


def added_tokens(folder: Path) -> dict[str, int]:
    """Tokens that a checkpoint adds beside its vocabulary file, such as the 70B Instruct model's ``<step>``.

    ``tokenizer.json`` is large and only read where the two small files are missing or silent.
    Raises ``ValueError`` where a file is no JSON of the expected shape.
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
    """A JSON object; an empty one where the file does not exist. Raises ``ValueError`` where it is no object."""
    if not path.exists():
        return {}
    data = json.loads(path.read_text("utf-8"))
    if not isinstance(data, dict):
        raise ValueError(f"{path.name} holds no JSON object")
    return data


class Vocabulary:
    """Every token's bytes in order, so that those which begin with given bytes are one slice.

    Attributes:
        longest: bytes of the longest token.
        silent: ids that stand for no bytes: control tokens, and rows that a checkpoint pads its vocabulary with.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        pieces = [(tokenizer.piece_bytes(i), i) for i in range(tokenizer.vocab_size)]
        self.silent = frozenset(i for piece, i in pieces if not piece)
        self._sorted = sorted((piece, i) for piece, i in pieces if piece)
        self._ids = dict(reversed(self._sorted))
        self.longest = max((len(piece) for piece in self._ids), default=0)

    def agreeing(self, wanted: bytes) -> list[int]:
        """Ids whose bytes begin with ``wanted``, or that ``wanted`` begins with."""
        low = bisect_left(self._sorted, (wanted, -1))
        high = bisect_left(self._sorted, (wanted + b"\xff" * 8, -1)) if wanted else len(self._sorted)
        longer = [i for _, i in self._sorted[low:high]]
        shorter = (wanted[:n] for n in range(1, len(wanted)))
        return longer + [self._ids[piece] for piece in shorter if piece in self._ids]

    def begins(self, wanted: bytes) -> bool:
        """Whether some token's bytes begin with ``wanted``, or are it."""
        at = bisect_left(self._sorted, (wanted, -1))
        return at < len(self._sorted) and self._sorted[at][0].startswith(wanted)
