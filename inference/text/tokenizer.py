"""Tokenizers behind one small interface: text to ids, ids to bytes.

Knows no prompts and no weights; torch-free. Every implementation is safe to call from several threads, and encodes
whatever the user wrote as text: no input can become a control token.

Encode the end or the beginning of a long text, without encoding all of it.

A document of megabytes takes a vocabulary seconds and gigabytes, and a prompt has room for kilobytes of it. So the text
is cut first, generously. Torch-free; knows no prompts.

Ids to text, chunk by chunk: bytes that do not make a whole character yet are held back.

Knows nothing of when a generation ends.
"""

from __future__ import annotations

import codecs
import json
import re
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


CHARACTERS_A_TOKEN = 4
"""Characters tried at first for each token wanted, about what code has. Twice as many are tried next."""

SLACK = 64
"""Tokens next to a cut that are not used: there the cut may have changed what is joined with what."""

BLOCK = 8192
"""A text is cut at multiples of so many characters, so that the cut, and with it the KV cache, lasts while typing."""

SEARCHED = 1024
"""Characters in which a line end is looked for: no vocabulary joins a letter with it, so a cut there changes least."""

MOST_CHARACTERS_A_TOKEN = 32
"""More than the average of any text: a longer one does not fit, whatever it says."""

_LINE_END = re.compile(r"\S\n")


def encode_end(tokenizer: Tokenizer, text: str, tokens: int) -> list[int]:
    """Return all ids of ``text`` at the start of a sequence, or more than ``tokens`` of its last ids."""
    size = _first_size(tokens)
    while (start := (len(text) - size) // BLOCK * BLOCK) > 0:
        line_end = _LINE_END.search(text, start, start + SEARCHED)
        ids = tokenizer.encode_continuation(text[line_end.start() + 1 if line_end else start :])[SLACK:]
        if len(ids) > tokens:
            return ids
        size *= 2
    return tokenizer.encode(text)


def encode_start(tokenizer: Tokenizer, text: str, tokens: int) -> list[int]:
    """Return all ids of ``text`` as a continuation, or more than ``tokens`` of its first ids."""
    size = _first_size(tokens)
    while size < len(text):
        ids = tokenizer.encode_continuation(text[:size])[:-SLACK]
        if len(ids) > tokens:
            return ids
        size *= 2
    return tokenizer.encode_continuation(text)


def without_middle(text: str, tokens: int) -> str:
    """Return ``text``, or its beginning and end where it is too long for ``tokens`` tokens whatever it says."""
    half = (tokens + SLACK) * MOST_CHARACTERS_A_TOKEN // 2
    return text if len(text) <= 2 * half else text[:half] + text[-half:]


def _first_size(tokens: int) -> int:
    return (max(tokens, 0) + 2 * SLACK) * CHARACTERS_A_TOKEN


class Detokenizer:
    """One generation's text so far. Leading spaces are kept: they are what an infilling is about.

    The first ``skip`` bytes stand in the document already (see ``generation.healing``) and are left out.
    """

    def __init__(self, tokenizer: Tokenizer, skip: int = 0) -> None:
        self._piece_bytes = tokenizer.piece_bytes
        self._skip = skip
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token: int) -> str:
        """The characters that ``token`` completes, possibly none."""
        piece = self._piece_bytes(token)
        skipped = min(self._skip, len(piece))
        self._skip -= skipped
        return self._decoder.decode(piece[skipped:])

    def finish(self) -> str:
        """What is left at the end: half a character becomes U+FFFD."""
        return self._decoder.decode(b"", final=True)
