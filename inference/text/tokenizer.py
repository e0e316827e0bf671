"""Tokenizers behind one small interface: text to ids, ids to bytes.

Knows no prompts and no weights; torch-free. Every implementation is safe to call from several threads, and encodes
whatever the user wrote as text: no input can become a control token.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer as RustTokenizer


class TokenizerError(ValueError):
    """A checkpoint's vocabulary cannot be used; the message says why and what to do, in one sentence."""


class Tokenizer(Protocol):
    """What prompts, healing and detokenising need of a vocabulary."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def bos_id(self) -> int | None:
        """The id every prompt starts with, or None where the model was trained without one."""
        ...

    @property
    def eos_ids(self) -> frozenset[int]:
        """Ids at which any generation ends."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of a text that stands at the start of a sequence; no BOS. Some vocabularies add an implicit space."""
        ...

    def encode_continuation(self, text: str) -> list[int]:
        """Ids of a text that continues another: never an implicit space."""
        ...

    def piece_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes a token stands for inside a text; empty for control tokens."""
        ...

    def control_id(self, piece: str) -> int | None:
        """The id of a control token by its name, or None if the vocabulary lacks it."""
        ...


class ByteLevelTokenizer:
    """A byte-level BPE vocabulary (GPT-2 style) in Hugging Face's ``tokenizer.json``, e.g. the starter's.

    Source: https://huggingface.co/docs/tokenizers/api/tokenizer (``encode_special_tokens``).
    """

    def __init__(self, folder: Path) -> None:
        self._rust = RustTokenizer.from_file(str(folder / "tokenizer.json"))
        self._rust.encode_special_tokens = True  # markers in the user's text stay text
        config = json.loads((folder / "config.json").read_text("utf-8"))
        eos = config.get("eos_token_id")
        self._eos = frozenset([eos] if isinstance(eos, int) else eos or [])

    @property
    def vocab_size(self) -> int:
        return self._rust.get_vocab_size()

    @property
    def bos_id(self) -> int | None:
        return None

    @property
    def eos_ids(self) -> frozenset[int]:
        end_of_text = self.control_id("<|endoftext|>")
        return self._eos if end_of_text is None else self._eos | {end_of_text}

    def encode(self, text: str) -> list[int]:
        return self._rust.encode(text, add_special_tokens=False).ids

    def encode_continuation(self, text: str) -> list[int]:
        return self.encode(text)

    def piece_bytes(self, token: int) -> bytes:
        return self._bytes[token]

    def control_id(self, piece: str) -> int | None:
        return self._control.get(piece)

    @cached_property
    def _control(self) -> dict[str, int]:
        added = self._rust.get_added_tokens_decoder()
        return {token.content: i for i, token in added.items() if token.special}

    @cached_property
    def _bytes(self) -> list[bytes]:
        control = set(self._control.values())
        byte_of = _byte_alphabet()
        pieces = (self._rust.id_to_token(i) or "" for i in range(self.vocab_size))
        return [b"" if i in control else bytes(byte_of[c] for c in piece) for i, piece in enumerate(pieces)]


def decode(tokenizer: Tokenizer, ids: list[int]) -> str:
    """The text of ``ids`` exactly as generated, leading spaces included; bytes that are no UTF-8 become U+FFFD."""
    return b"".join(map(tokenizer.piece_bytes, ids)).decode("utf-8", errors="replace")


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for the 256 bytes (openai/gpt-2, ``src/encoder.py``, ``bytes_to_unicode``)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    alphabet = {chr(b): b for b in printable}
    others = (b for b in range(256) if b not in printable)
    return alphabet | {chr(256 + n): b for n, b in enumerate(others)}
