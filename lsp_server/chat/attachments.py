"""What a person's message points at (``#file:path``) and which task it names (``/explain``). Pure; looks nothing up.

Only what a person writes is read here: never a file, nor a model's answer.

Pieces of files that go with a message: how they are written down, and how many there is room for. Pure.

A piece stands in a fence that nothing in it can close, under a line that says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["file", "selection", "diagnostics", "symbol", "diff", "open"]

TASKS = {"explain": "explain", "fix": "chat-fix", "tests": "chat-tests", "doc": "chat-doc", "commit": "commit"}
"""The prompt of each word that may follow a slash at the start of a message."""

_MENTION = re.compile(
    r"""(?<![\w\#&/])\#(?:
        (?P<named>file|symbol):(?:"(?P<quoted>[^"\n]+)"|(?P<bare>[^\s"]+))
        |(?P<plain>selection|diagnostics|diff|open)(?![\w:-])
    )""",
    re.VERBOSE,
)
_SLASH = re.compile(rf"\s*/({'|'.join(TASKS)})(?!\S)\s*")


@dataclass(frozen=True, slots=True)
class Mention:
    """``#kind``, or ``#kind:name``."""

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        return f"#{self.kind}:{self.name}" if self.name else f"#{self.kind}"


def mentions(text: str) -> list[Mention]:
    """Each once, in the order in which they are written. What ends a sentence is no part of a name."""
    found: dict[Mention, None] = {}
    for match in _MENTION.finditer(text):
        name = match["quoted"] or (match["bare"] or "").rstrip(".,;:!?)'")
        if match["plain"] or name:
            found[Mention(match["named"] or match["plain"], name)] = None  # type: ignore[arg-type]  one of the kinds
    return list(found)


def task(text: str) -> tuple[str, str]:
    """The task that a message begins with, or an empty string, and the rest of the message."""
    begun = _SLASH.match(text)
    return (begun[1], text[begun.end() :]) if begun else ("", text)


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
