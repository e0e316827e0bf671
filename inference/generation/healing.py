"""Token healing: the first tokens of an answer must agree with bytes that are already there.

A prompt that is cut in the middle of what the vocabulary would have joined asks for a token sequence the model never
saw. So the cut-off bytes are held out of the prompt and the first tokens are chosen among those that begin with them.
Knows no model: bytes in, allowed ids out. Named after Guidance's "token healing"; see also Code Llama, appendix E.
"""

from __future__ import annotations

from bisect import bisect_left

from inference.text.tokenizer import Tokenizer


class Vocabulary:
    """Every token's bytes in order, so that those which begin with given bytes are one slice."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        pieces = ((tokenizer.piece_bytes(i), i) for i in range(tokenizer.vocab_size))
        self._sorted = sorted((piece, i) for piece, i in pieces if piece)
        self._ids = dict(reversed(self._sorted))

    def agreeing(self, wanted: bytes) -> list[int]:
        """Ids whose bytes begin with ``wanted``, or that ``wanted`` begins with."""
        low = bisect_left(self._sorted, (wanted, -1))
        high = bisect_left(self._sorted, (wanted + b"\xff" * 8, -1)) if wanted else len(self._sorted)
        longer = [i for _, i in self._sorted[low:high]]
        shorter = (wanted[:n] for n in range(1, len(wanted)))
        return longer + [self._ids[piece] for piece in shorter if piece in self._ids]


class Healing:
    """What is still owed of one answer's first bytes."""

    def __init__(self, vocabulary: Vocabulary, tokenizer: Tokenizer, text: str) -> None:
        self._vocabulary = vocabulary
        self._piece_bytes = tokenizer.piece_bytes
        self._owed = text.encode()

    def allowed(self) -> list[int] | None:
        """Ids that may come next, or None where any may."""
        return self._vocabulary.agreeing(self._owed) if self._owed else None

    def accept(self, token: int) -> None:
        """``token`` was chosen."""
        self._owed = self._owed[len(self._piece_bytes(token)) :]
