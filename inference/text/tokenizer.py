"""Tokenizers behind one small interface: text to ids, ids to bytes.

Every implementation may be shared between threads, and encodes user text as text: no input can become a control token.
Helpers encode only one end of a long text: encoding a document of megabytes takes seconds and gigabytes, while a prompt
has room for kilobytes. Torch-free.
"""

from __future__ import annotations

import codecs
import json
import re
from functools import cached_property
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer as RustTokenizer

from inference.errors import CodeLlamaError


class TokenizerError(CodeLlamaError, ValueError):
    """A checkpoint's vocabulary cannot be used."""


class Tokenizer(Protocol):
    """A vocabulary, as prompts, token healing and detokenization use it."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def bos_id(self) -> int | None:
        """The id every prompt starts with, or None if the model was trained without one."""
        ...

    @property
    def eos_ids(self) -> frozenset[int]:
        """Ids that end any generation."""
        ...

    def encode(self, text: str) -> list[int]:
        """Encode a text at the start of a sequence, without BOS. Some vocabularies add an implicit space."""
        ...

    def encode_continuation(self, text: str) -> list[int]:
        """Encode a text that continues another, without an implicit space."""
        ...

    def piece_bytes(self, token: int) -> bytes:
        """Return the UTF-8 bytes of a token inside a text, empty for control tokens."""
        ...

    def control_id(self, piece: str) -> int | None:
        """Return the id of the control token named ``piece``, or None if the vocabulary lacks it."""
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


def _byte_alphabet() -> dict[str, int]:
    """Return GPT-2's printable stand-ins for the 256 bytes (openai/gpt-2, ``src/encoder.py``, ``bytes_to_unicode``)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    alphabet = {chr(b): b for b in printable}
    others = (b for b in range(256) if b not in printable)
    return alphabet | {chr(256 + n): b for n, b in enumerate(others)}


def decode(tokenizer: Tokenizer, ids: list[int]) -> str:
    """Return the text of ``ids`` with all leading spaces. Bytes that are not UTF-8 become U+FFFD."""
    return b"".join(map(tokenizer.piece_bytes, ids)).decode("utf-8", errors="replace")


class Detokenizer:
    """Decode one generation token by token. Leading spaces are kept, since infilling depends on them.

    The bytes of an incomplete character are held back. The first ``skip`` bytes are left out: token healing has the
    model repeat them, and the document holds them already.
    """

    def __init__(self, tokenizer: Tokenizer, skip: int = 0) -> None:
        self._piece_bytes = tokenizer.piece_bytes
        self._skip = skip
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token: int) -> str:
        """Return the characters that ``token`` completes, possibly none."""
        piece = self._piece_bytes(token)
        skipped = min(self._skip, len(piece))
        self._skip -= skipped
        return self._decoder.decode(piece[skipped:])

    def finish(self) -> str:
        """Return the rest at the end of the generation. An incomplete character becomes U+FFFD."""
        return self._decoder.decode(b"", final=True)


CHARS_PER_TOKEN = 4
"""First estimate, typical of code. It is doubled until enough tokens are found."""

SLACK = 64
"""Tokens beside a cut that are discarded: the cut may have changed how they were merged."""

CUT_BLOCK = 8192
"""Texts are cut at multiples of this many characters: the cut, and with it the KV cache, stays while the user types."""

LINE_END_SEARCH = 1024
"""Characters in which to find a line end to cut at. No vocabulary merges a letter with the line end that follows."""

MAX_CHARS_PER_TOKEN = 32
"""More than the average of any text: a text with more characters per token of room does not fit."""

_LINE_END = re.compile(r"\S\n")


def encode_end(tokenizer: Tokenizer, text: str, tokens: int) -> list[int]:
    """Return all ids of ``text`` at the start of a sequence, or more than ``tokens`` of its last ids."""
    size = _first_size(tokens)
    while (start := (len(text) - size) // CUT_BLOCK * CUT_BLOCK) > 0:
        line_end = _LINE_END.search(text, start, start + LINE_END_SEARCH)
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
    """Return ``text``, or only its start and end if it cannot fit into ``tokens`` tokens whatever it contains."""
    half = (tokens + SLACK) * MAX_CHARS_PER_TOKEN // 2
    return text if len(text) <= 2 * half else text[:half] + text[-half:]


def _first_size(tokens: int) -> int:
    return (max(tokens, 0) + 2 * SLACK) * CHARS_PER_TOKEN
