"""A tokenizer of a few words, matched greedily and longest first; all other bytes are tokens."""

from __future__ import annotations

from collections.abc import Sequence

from fakes.characters import CONTROL


class LongestMatchTokenizer:
    """Ids below 256 are bytes, then come words, then control tokens; no space is implicit."""

    bos_id = None

    def __init__(self, words: Sequence[str]) -> None:
        self.pieces = [bytes([b]) for b in range(256)] + [word.encode() for word in words]
        self._control = {piece: len(self.pieces) + n for n, piece in enumerate(CONTROL)}
        self._ids = {piece: i for i, piece in enumerate(self.pieces)}
        self._longest = max(map(len, self.pieces))

    @property
    def vocab_size(self) -> int:
        return len(self.pieces) + len(self._control)

    @property
    def eos_ids(self) -> frozenset[int]:
        return frozenset([self._control["</s>"]])

    def encode(self, text: str) -> list[int]:
        ids, rest = [], text.encode()
        while rest:
            size = next(n for n in range(self._longest, 0, -1) if rest[:n] in self._ids)
            ids.append(self._ids[rest[:size]])
            rest = rest[size:]
        return ids

    encode_continuation = encode

    def piece_bytes(self, token: int) -> bytes:
        return self.pieces[token] if token < len(self.pieces) else b""

    def control_id(self, piece: str) -> int | None:
        return self._control.get(piece)
