"""How near an answer is to the text that was taken out. Pure; white space at the very end never counts."""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein


def exact(answer: str, middle: str) -> bool:
    """Whether the answer is the missing text."""
    return answer.rstrip() == middle.rstrip()


def similarity(answer: str, middle: str) -> float:
    """1 - (insertions, deletions and replacements of characters) / (length of the longer): 0 to 1."""
    return Levenshtein.normalized_similarity(answer.rstrip(), middle.rstrip())


def first_line(answer: str, middle: str) -> bool:
    """Whether the answer's first line is that of the missing text."""
    return _first(answer) == _first(middle)


def _first(text: str) -> str:
    return text.split("\n", 1)[0].rstrip()
