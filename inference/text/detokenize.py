"""Ids to text, chunk by chunk: bytes that do not make a whole character yet are held back.

Knows nothing of when a generation ends.
"""

from __future__ import annotations

import codecs

from inference.text.tokenizer import Tokenizer


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
