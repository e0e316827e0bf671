"""Tokenizers for Llama-family checkpoints, equal token for token to Meta's reference, and loading one from a folder.

``CodeLlamaTokenizer`` reads SentencePiece's ``tokenizer.model``; ``ByteFallbackTokenizer`` reads checkpoints that ship
only Hugging Face's ``tokenizer.json``. Torch-free.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer as RustTokenizer

from inference.text.tokenizer import ByteLevelTokenizer, Tokenizer, TokenizerError
from inference.text.vocabulary import (
    BEGIN,
    CONTINUED,
    END,
    END_OF_INFILL,
    NAMED,
    UNKNOWN,
    added_tokens,
    is_marker,
    read_json,
    text_bytes,
)


class LlamaTokenizer:
    """A vocabulary with an implicit leading space and byte fallback.

    Args:
        pieces: every piece of the vocabulary file, by id.
        control: ids in that file without text.
        folder: folder of the checkpoint, with the added tokens and the number of embedding rows.
        encode: text to ids with the implicit space. Must be thread-safe and never return ids in ``control``.

    Raises:
        TokenizerError: the vocabulary is not of this family or not of this checkpoint.
    """

    def __init__(
        self, pieces: Sequence[str], control: set[int], folder: Path, encode: Callable[[str], list[int]]
    ) -> None:
        named = {pieces[i]: i for i in control}
        if BEGIN not in named or END not in named or "<0x0A>" not in pieces:
            raise TokenizerError(f"The vocabulary in {folder} is not of the Llama family. Choose another checkpoint.")
        rows = read_json(folder / "config.json").get("vocab_size", 2**31)
        if len(pieces) > rows:
            raise TokenizerError(
                f"The vocabulary in {folder} has {len(pieces)} pieces but its model only {rows}: "
                "they belong to different checkpoints. Download this checkpoint again."
            )
        added = {name: i for name, i in added_tokens(folder).items() if _is_added(name, i, named, len(pieces), rows)}
        self._control = named | added
        silent = set(self._control.values())
        size = max(len(pieces), *(i + 1 for i in silent))
        self._bytes = [b"" if i in silent or i >= len(pieces) else text_bytes(pieces[i]) for i in range(size)]
        self._encode = encode
        self._mark = encode(CONTINUED)

    @property
    def vocab_size(self) -> int:
        return len(self._bytes)

    @property
    def bos_id(self) -> int:
        return self._control[BEGIN]

    @property
    def eos_ids(self) -> frozenset[int]:
        return frozenset([self._control[END]])

    def encode(self, text: str) -> list[int]:
        return self._encode(text)

    def encode_continuation(self, text: str) -> list[int]:
        """Encode behind a character that merges with nothing, then drop it, as Meta's ``encode_infilling`` does.

        Source: facebookresearch/codellama ``llama/tokenizer.py``.
        """
        return self._encode(CONTINUED + text)[len(self._mark) :]

    def piece_bytes(self, token: int) -> bytes:
        """Return the bytes as in the protocol; empty for rows that pad the embedding beyond the vocabulary."""
        return self._bytes[token] if token < len(self._bytes) else b""

    def control_id(self, piece: str) -> int | None:
        return self._control.get(piece)


class CodeLlamaTokenizer(LlamaTokenizer):
    """SentencePiece's ``tokenizer.model``, which every Code Llama checkpoint ships.

    Text is encoded with the 32,000 trained pieces only. The published file appends the sentinels as ordinary pieces, so
    `` <EOT>`` in a user's file would become the sentinel; here no text can. The appended parts of sentinels (``▁<E``)
    are not used for encoding either, but decode to their text if a model generates them.

    Raises:
        TokenizerError: the file is damaged or does not belong to the checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        proto = (folder / "tokenizer.model").read_bytes()
        try:
            pieces, control = _pieces(proto)
            appended = _appended(pieces, trained_size(proto))
            text_only = SentencePieceProcessor(model_proto=hide_pieces(proto, appended))
        except (RuntimeError, ValueError) as problem:
            raise TokenizerError(
                f"{folder / 'tokenizer.model'} is damaged. Download the checkpoint again."
            ) from problem
        control |= {i for i in appended if is_marker(pieces[i])}
        super().__init__(pieces, control, folder, text_only.encode)


def _pieces(proto: bytes) -> tuple[list[str], set[int]]:
    """Return all pieces and the ids without text. The 6 MB processor is freed before the next one is built."""
    whole = SentencePieceProcessor(model_proto=proto)
    ids = range(whole.vocab_size())
    return [whole.id_to_piece(i) for i in ids], {i for i in ids if whole.is_control(i) or whole.is_unknown(i)}


def _appended(pieces: list[str], trained: int) -> set[int]:
    """Return the ids of sentinels and parts of sentinels appended to the trained vocabulary.

    Other appended pieces, such as the words of an added language, are ordinary text.
    """
    return {i for i, piece in enumerate(pieces) if piece in NAMED or (i >= trained and piece.lstrip("▁")[:1] == "<")}


def _is_added(name: str, i: int, named: dict[str, int], pieces: int, rows: int) -> bool:
    """Return True if an added token is a control token with an embedding row.

    Its id is new, or it renames a control piece: ``<step>`` of CodeLlama-70b-Instruct is 32015, which is an unused
    sentinel in the vocabulary file. Some tools add tokens past the last row (huggingface/transformers#26156); the
    model would fail on those.
    """
    return 0 <= i < rows and (i >= pieces or i in named.values()) and name != ""


class ByteFallbackTokenizer(LlamaTokenizer):
    """A ``tokenizer.json`` with BPE and byte fallback. The order of its merges is used as it is.

    Raises:
        ValueError: the file is damaged.
        TokenizerError: the vocabulary is of another family or checkpoint.
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
    """Return the tokenizer without added tokens and their merges, which would turn text into control tokens."""
    model = data["model"]
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    merges = [pair for pair in pairs if "".join(pair) not in NAMED]
    return data | {"added_tokens": [], "post_processor": None, "model": model | {"merges": merges}}


# A SentencePiece ``ModelProto``, read and edited at the outermost level of the wire format, without a protobuf runtime.
# Sources: sentencepiece ``src/sentencepiece_model.proto``; https://protobuf.dev/programming-guides/encoding/.

_PIECES, _TRAINER_SPEC, _VOCAB_SIZE = 1, 2, 4
_TYPE_CONTROL = b"\x18\x03"
"""Field 3 (type) = 3 (CONTROL). Appended to a piece, it overrides the type: the last value of a scalar field counts."""


def trained_size(proto: bytes) -> int:
    """Return the number of pieces that the vocabulary was trained with.

    Code Llama's file says 32000 and holds 32016: the rest was appended by hand. Raises ``ValueError`` if the bytes are
    not a whole ``ModelProto``.
    """
    for number, payload in _fields(proto):
        if number == _TRAINER_SPEC and isinstance(payload, bytes):
            sizes = [value for inner, value in _fields(payload) if inner == _VOCAB_SIZE and isinstance(value, int)]
            if sizes:
                return sizes[-1]
    raise ValueError("not a whole SentencePiece model")


def hide_pieces(proto: bytes, hidden: Collection[int]) -> bytes:
    """Return the vocabulary with the pieces ``hidden`` turned into control pieces, which no text is encoded to.

    All ids stay the same.
    """
    out: list[bytes] = []
    piece = -1
    for number, payload in _fields(proto):
        piece += number == _PIECES
        out.append(_field(number, payload, _TYPE_CONTROL if number == _PIECES and piece in hidden else b""))
    return b"".join(out)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield field numbers and values: varints as numbers, anything else as bytes."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _read_varint(data, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, at = _read_varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(kind, -1)
        if size < 0 or at + size > len(data):
            raise ValueError("not a whole SentencePiece model")
        yield tag >> 3, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("not a whole SentencePiece model")


def _field(number: int, value: int | bytes, more: bytes) -> bytes:
    """Encode one field. ``ModelProto`` has only messages at its outermost level; anything else is damage."""
    if isinstance(value, int):
        raise ValueError("not a SentencePiece model")
    return _varint(number << 3 | 2) + _varint(len(value) + len(more)) + value + more


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of the checkpoint in ``folder``.

    ``tokenizer.model`` is preferred: Code Llama was trained with it, and some ``tokenizer.json`` converted from it
    encode indentation wrongly. Raises ``TokenizerError`` if the files are missing, damaged or of another checkpoint.
    """
    if (folder / "tokenizer.model").exists():
        return _load(CodeLlamaTokenizer, folder, "tokenizer.model")
    if (folder / "tokenizer.json").exists():
        return _load(_from_json, folder, "tokenizer.json")
    raise TokenizerError(f"{folder} holds neither tokenizer.model nor tokenizer.json. Download the checkpoint again.")


def _load(read: Callable[[Path], Tokenizer], folder: Path, name: str) -> Tokenizer:
    try:
        return read(folder)
    except TokenizerError:
        raise
    except Exception as problem:  # the tokenizers library raises bare Exception
        raise TokenizerError(
            f"{folder / name} or a file beside it is damaged. Download the checkpoint again."
        ) from problem


def _from_json(folder: Path) -> Tokenizer:
    byte_fallback = read_json(folder / "tokenizer.json")["model"].get("byte_fallback")
    return ByteFallbackTokenizer(folder) if byte_fallback else ByteLevelTokenizer(folder)
