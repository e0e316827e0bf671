"""A vocabulary in which every character is one token: budgets in tokens are lengths of text."""

from __future__ import annotations

from collections.abc import Mapping

CONTROL = {"<s>": 1, "</s>": 2, "▁<PRE>": 3, "▁<SUF>": 4, "▁<MID>": 5, "▁<EOT>": 6, "<step>": 7}
CHATML = {"<|im_start|>": 8, "<|im_end|>": 9}
FIRST = 16


class CharacterTokenizer:
    """Ids are code points plus ``FIRST``; there are no merges and no implicit space."""

    vocab_size = FIRST + 0x110000

    def __init__(self, control: Mapping[str, int] = CONTROL) -> None:
        self._control = control

    @property
    def bos_id(self) -> int | None:
        return self._control.get("<s>")

    @property
    def eos_ids(self) -> frozenset[int]:
        return frozenset([2])

    def encode(self, text: str) -> list[int]:
        return [ord(c) + FIRST for c in text]

    def encode_continuation(self, text: str) -> list[int]:
        return self.encode(text)

    def piece_bytes(self, token: int) -> bytes:
        return chr(token - FIRST).encode() if token >= FIRST else b""

    def control_id(self, piece: str) -> int | None:
        return self._control.get(piece)

    def show(self, ids: list[int]) -> str:
        """Return a prompt as text with its control tokens by name."""
        names = {i: piece.strip("▁") for piece, i in self._control.items()}
        return "".join(names.get(i) or chr(i - FIRST) for i in ids)
