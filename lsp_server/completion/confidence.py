"""How sure the model was of what is to be shown. Pure; knows no engine and no threshold.

Of an answer of several lines the first counts: the longer a text, the less likely is all of it to the letter, even if
it is as good as another. Tokens that begin before the answer, with a half-typed word, do not: how likely they were says
what the model would have written in that word's place, and not how well it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

from inference.generation.answer import TokenChance


def confidence(tokens: Sequence[TokenChance], text: str, shown: str) -> float:
    """The probability that the model gave to the first line of ``shown``: 0 to 1, 1 where no token of it is known.

    ``tokens`` are those of ``text``, all that was written; ``shown`` is as much of it as was kept.
    """
    said = b"".join(token.piece for token in tokens)
    first = _first_line(shown)
    dropped = max(text.find(first), 0)  # blanks that the document has already
    start = max(said.find(_bytes(text)), 0) + len(_bytes(text[:dropped]))
    end, at = start + len(_bytes(first)), 0
    chances: list[float] = []
    for token in tokens:
        if at >= start and at < end:
            chances.append(token.logprob)
        at += len(token.piece)
    return exp(sum(chances))


def _first_line(text: str) -> str:
    """The first that says something, and the blanks before it."""
    blanks = len(text) - len(text.lstrip())
    return text[:blanks] + text[blanks:].partition("\n")[0]


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")
