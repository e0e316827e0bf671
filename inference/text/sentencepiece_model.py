"""The few things of a SentencePiece ``ModelProto`` that the library does not offer, read from its bytes.

Which pieces were trained and which were appended by hand, and the same proto with some pieces made unreachable from
text. Only the outermost layer of the wire format is read, so no protobuf runtime is needed. Knows no tokenizer.
Source: sentencepiece ``src/sentencepiece_model.proto``; https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

_PIECES, _TRAINER_SPEC, _VOCAB_SIZE = 1, 2, 4
_TYPE_CONTROL = b"\x18\x03"
"""Field 3 (type) = 3 (CONTROL). Appended to a piece it wins: of a repeated scalar field the last value counts."""


def trained_size(proto: bytes) -> int:
    """How many pieces the vocabulary was trained with.

    Code Llama's file says 32000 and holds 32016: the rest was appended by hand.
    Raises ``ValueError`` for bytes that are no proto, or one that was cut before it says so.
    """
    for number, payload in _fields(proto):
        if number == _TRAINER_SPEC and isinstance(payload, bytes):
            sizes = [value for inner, value in _fields(payload) if inner == _VOCAB_SIZE and isinstance(value, int)]
            if sizes:
                return sizes[-1]
    raise ValueError("not a whole SentencePiece model")


def hide_pieces(proto: bytes, hidden: Collection[int]) -> bytes:
    """The same vocabulary, ids unchanged, but no text is ever encoded to the ids in ``hidden``.

    They become control pieces, which the library keeps out of its search.
    """
    out: list[bytes] = []
    piece = -1
    for number, payload in _fields(proto):
        piece += number == _PIECES
        out.append(_field(number, payload, _TYPE_CONTROL if number == _PIECES and piece in hidden else b""))
    return b"".join(out)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values: varints as numbers, anything else as its bytes."""
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
    """A ``ModelProto`` has only messages at its outermost level; anything else there is damage."""
    if isinstance(value, int):
        raise ValueError("not a SentencePiece model")
    return _varint(number << 3 | 2) + _varint(len(value) + len(more)) + value + more


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
