"""Token healing: the first tokens of an answer must agree with bytes that are already there.

A prompt that is cut in the middle of what the vocabulary would have joined asks for a token sequence the model never
saw. So the cut-off bytes are held out of the prompt and the first tokens are chosen among those that begin with them.
Knows no model: bytes in, allowed ids out. Named after Guidance's "token healing"; see also Code Llama, appendix E.
"""

from __future__ import annotations

from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import Vocabulary


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
