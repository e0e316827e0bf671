"""How sure the model was of what is to be shown. Pure; knows no engine and no threshold.

Of an answer of several lines the first counts: the longer a text, the less likely is all of it to the letter, even if
it is as good as another. Tokens that begin before the answer, with a half-typed word, do not: how likely they were says
what the model would have written in that word's place, and not how well it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from inference.api.events import TokenProbability


@dataclass(frozen=True, slots=True)
class TokenProbabilities:
    """How likely the tokens of an answer's first line were.

    Attributes:
        line: characters of that line, and of blanks before it.
        tokens: of each that begins within the answer where that is, in characters, and its log-probability.
    """

    line: int
    tokens: tuple[tuple[int, float], ...] = ()

    def after(self, typed: int) -> float:
        """The probability of what is left of the line once so many of its characters are typed: 0 to 1.

        A token that was typed in part does not count any more, as one that begins before the answer does not.
        """
        return exp(sum(logprob for at, logprob in self.tokens if at >= typed))


def token_probabilities(tokens: Sequence[TokenProbability], text: str, shown: str) -> TokenProbabilities:
    """Of the first line of ``shown``. ``tokens`` are those of ``text``, all that was written."""
    said = b"".join(token.piece for token in tokens)
    first = _first_line(shown)
    dropped = max(text.find(first), 0)  # blanks that the document has already
    start = max(said.find(_bytes(text)), 0) + len(_bytes(text[:dropped]))
    line, at = _bytes(first), -start
    found: list[tuple[int, float]] = []
    for token in tokens:
        if 0 <= at < len(line):
            found.append((len(line[:at].decode(errors="ignore")), token.logprob))
        at += len(token.piece)
    return TokenProbabilities(len(first), tuple(found))


def confidence(tokens: Sequence[TokenProbability], text: str, shown: str) -> float:
    """The probability that the model gave to the first line of ``shown``: 0 to 1, 1 where no token of it is known."""
    return token_probabilities(tokens, text, shown).after(0)


def _first_line(text: str) -> str:
    """The first that says something, and the blanks before it."""
    blanks = len(text) - len(text.lstrip())
    return text[:blanks] + text[blanks:].partition("\n")[0]


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")
