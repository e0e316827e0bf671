"""Which pieces speak of what stands around the cursor: BM25 over the words of code. Pure.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), section 3.2.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

K1, B = 1.2, 0.75
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
