"""Confidence: the probability of a completion's first line under the model.

Only the first line counts: the longer a text, the less likely is all of it to the letter, even if it is as good as
another. Tokens that begin before the completion, with a half-typed word, do not count either: their probability says
which word the model expected there, not how well the completion continues it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from inference.api.events import TokenProbability


@dataclass(frozen=True, slots=True)
class TokenProbabilities:
    """Log-probabilities of the tokens of a completion's first line.

    Attributes:
        line: length of that line in characters, blank lines before it included.
        tokens: offset in characters and log-probability of each token that begins within the line.
    """

    line: int
    tokens: tuple[tuple[int, float], ...] = ()

    def confidence_after(self, typed: int) -> float:
        """Return the probability, 0 to 1, of the rest of the line after its first ``typed`` characters.

        Tokens that begin before that offset do not count.
        """
        return exp(sum(logprob for offset, logprob in self.tokens if offset >= typed))


def token_probabilities(tokens: Sequence[TokenProbability], text: str, displayed: str) -> TokenProbabilities:
    """Return the token probabilities of the first line of ``displayed``.

    ``tokens`` are those of ``text``, the generated text, of which ``displayed`` is a part.
    """
    generated = b"".join(token.piece for token in tokens)
    first = _first_line(displayed)
    dropped = max(text.find(first), 0)  # leading whitespace that post-processing removed
    start = max(generated.find(_bytes(text)), 0) + len(_bytes(text[:dropped]))
    line, offset = _bytes(first), -start
    found: list[tuple[int, float]] = []
    for token in tokens:
        if 0 <= offset < len(line):
            found.append((len(line[:offset].decode(errors="ignore")), token.logprob))
        offset += len(token.piece)
    return TokenProbabilities(len(first), tuple(found))


def confidence(tokens: Sequence[TokenProbability], text: str, displayed: str) -> float:
    """Return the probability, 0 to 1, of the first line of ``displayed``; 1 if none of its tokens is known."""
    return token_probabilities(tokens, text, displayed).confidence_after(0)


def _first_line(text: str) -> str:
    """Return the first line that is not blank, and the whitespace before it."""
    blanks = len(text) - len(text.lstrip())
    return text[:blanks] + text[blanks:].partition("\n")[0]


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")
