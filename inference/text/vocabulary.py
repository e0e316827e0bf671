"""A vocabulary looked up by bytes: which tokens begin as given bytes do. Torch-free; knows no prompts and no model."""

from __future__ import annotations

from bisect import bisect_left

from inference.text.tokenizer import Tokenizer


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
