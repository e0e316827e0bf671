"""Which pieces speak of what stands around the cursor: BM25 over the words of code. Pure; knows not where they lie.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), section 3.2.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from inference.text.context import ContextChunk
from inference.text.excerpts import Piece

K1, B = 1.2, 0.75
MOST_CHUNKS = 8
QUERY_LINES = 20
"""Lines before the cursor that say what is wanted."""
SAME = 0.6
"""Of a piece's telling lines, as many in the window or in a better piece make it superfluous."""
DEFINED_HERE = 2.0
"""A definition of a name that is used at the cursor counts this many times."""
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\da-zA-Z_]+")


def words(text: str) -> list[str]:
    """Identifiers and, of those made of several words, each of these too; in lower case."""
    found: list[str] = []
    for match in _IDENTIFIER.finditer(text):
        name = match.group()
        parts = _PART.findall(name)
        found += [name.lower(), *(part.lower() for part in parts if len(parts) > 1 and len(part) > 2)]
    return found


def bm25(query: Sequence[str], documents: Sequence[Sequence[str]]) -> list[float]:
    """A score for each document; how often a word stands in the query does not count."""
    counts = [Counter(document) for document in documents]
    mean = sum(map(len, documents)) / max(len(documents), 1) or 1.0
    wanted = set(query)
    scores = [0.0] * len(documents)
    for word in sorted(wanted):
        having = sum(word in count for count in counts)
        weight = math.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
        for n, count in enumerate(counts):
            if times := count[word]:
                norm = K1 * (1 - B + B * len(documents[n]) / mean)
                scores[n] += weight * times * (K1 + 1) / (times + norm)
    return scores


def choose(before: str, right: str, window: str, pieces: Sequence[Piece], limit: int) -> tuple[ContextChunk, ...]:
    """The pieces that speak most of what stands before the cursor, and say something new; the best first.

    ``before`` is the text before the cursor, ``right`` the rest of its line, ``window`` what is shown anyway. At most
    ``limit`` characters in ``MOST_CHUNKS`` chunks.
    """
    query = words("\n".join(before.split("\n")[-QUERY_LINES:]) + "\n" + right)
    scores = bm25(query, [words(piece.text) for piece in pieces])
    used = set(query)
    weighed = [s * (DEFINED_HERE if p.defines.lower() in used else 1.0) for s, p in zip(scores, pieces, strict=True)]
    order = sorted(range(len(pieces)), key=lambda n: -weighed[n])
    return fitting([pieces[n] for n in order if weighed[n] > 0], window, limit)


def fitting(pieces: Sequence[Piece], window: str, limit: int) -> tuple[ContextChunk, ...]:
    """Of the pieces in their order those that there is room for, and that say something new."""
    shown, chosen = _telling(window), list[ContextChunk]()
    for piece in pieces:
        lines = _telling(piece.text)
        if len(chosen) == MOST_CHUNKS:
            break
        if len(piece.text) <= limit and len(lines & shown) < SAME * len(lines):
            chosen.append(ContextChunk(piece.path, piece.text))
            limit -= len(piece.text)
            shown |= lines
    return tuple(chosen)


def _telling(text: str) -> set[str]:
    return {line.strip() for line in text.split("\n") if len(line.strip()) >= 8}
