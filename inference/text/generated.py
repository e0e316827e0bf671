"""Whether a file of code was written by a person or by a program. Knows no folders and no languages."""

from __future__ import annotations

import re

_HEAD = 1200
_MARKS = re.compile(
    r"@generated\b|\bdo not (?:edit|modify)\b|\b(?:auto|machine|automatically)[- ]?generated\b|"
    r"^\W*(?:(?:this )?(?:file|code|source|module) (?:was |is |has been )?)?generated (?:by|from|with|using)\b",
    re.IGNORECASE | re.MULTILINE,
)
_NAMES = re.compile(
    r"(?:_pb2(?:_grpc)?\.pyi?|\.pb\.(?:cc|go|h)|\.min\.\w+|\.bundle\.\w+|\.g\.(?:cs|dart)|\.designer\.cs|\.d\.[mc]?ts|"
    r"[._-]lock\.\w+|parser\.c|_?version\.py)$",
    re.IGNORECASE,
)
_LONG_LINE = 600
_MEAN_LINE = 110
_FEW = 2000
"""Characters in which a few long lines of prose say nothing."""


def is_generated(name: str, text: str) -> bool:
    """By the file's name, or by what its first comment says."""
    return bool(_NAMES.search(name) or _MARKS.search(text[:_HEAD]))


def is_minified(text: str) -> bool:
    """Lines that no person would write: one very long, or all of them long."""
    lines = text.splitlines() or [""]
    return max(map(len, lines)) > _LONG_LINE or (len(text) > _FEW and len(text) / len(lines) > _MEAN_LINE)
