"""Pieces of files that go with a message: how they are written down, and how many there is room for. Pure.

A piece stands in a fence that nothing in it can close, under a line that says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

_BACKTICKS = re.compile(r"`{3,}")


@dataclass(frozen=True, slots=True)
class Attachment:
    """One piece.

    Attributes:
        title: what it is, in words, e.g. ``src/a.py, lines 3 to 9``.
        text: the piece, with LF line ends.
        language: as LSP names it; empty for none.
        shortened: it has lost its last lines.
    """

    title: str
    text: str
    language: str = ""
    shortened: bool = False

    def __str__(self) -> str:
        longest = max((len(run) for run in _BACKTICKS.findall(self.text)), default=2)
        fence = "`" * (longest + 1)
        title = f"{self.title} (only its beginning)" if self.shortened else self.title
        return f"{title}:\n{fence}{self.language}\n{self.text.rstrip()}\n{fence}"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What does not go along, and why, in words."""

    title: str
    why: str


def fit(pieces: Sequence[Attachment], limit: int) -> tuple[list[Attachment], list[LeftOut]]:
    """As many characters as ``limit`` allows, the first pieces first; the one that ends there keeps its first lines."""
    kept: list[Attachment] = []
    for piece in dict.fromkeys(pieces):
        text = _first_lines(piece.text, limit)
        whole = text == piece.text
        if text.strip():
            kept.append(piece if whole else replace(piece, text=text, shortened=True))
        limit = limit - len(text) if whole else 0  # or a shorter one would be shown in place of the rest of this one
    shown = {piece.title for piece in kept}
    lost = [piece.title for piece in dict.fromkeys(pieces) if piece.title not in shown]
    return kept, [LeftOut(title, "there is no room left for it, or it is empty") for title in lost]


def written(pieces: Sequence[Attachment]) -> str:
    """All of them, as they stand in a message."""
    return "\n\n".join(map(str, pieces))


def _first_lines(text: str, limit: int) -> str:
    """As many whole lines as ``limit`` characters hold; of a first line longer than that, its beginning."""
    if len(text) <= limit:
        return text
    cut = text.rfind("\n", 0, limit + 1)
    return text[: cut if cut > 0 else limit]
