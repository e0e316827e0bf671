"""Sample holes: spans removed from source files where editors would request a completion.

Used to evaluate models and to train them to infill. The choice depends only on the random generator. Torch-free.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from inference.text.source_files import SourceFile
from inference.text.syntax import Span, blocks

HoleKind = Literal["end", "line", "block", "span"]
"""The rest of a line from a random character; a whole line; a syntactic block; a span between random characters.

``end`` and ``line`` stop before the newline; ``line`` and ``block`` start after the indentation. ``span`` is the kind
used to train Code Llama (arXiv 2308.12950, section 2.3).
"""
HOLE_KINDS: tuple[HoleKind, ...] = get_args(HoleKind)

MAX_SPAN = 400
"""Characters."""
MAX_PER_FILE = 3
"""Holes of one kind in one file, so that a large file does not dominate."""


@dataclass(frozen=True, slots=True)
class Hole:
    """A file split into prefix, middle (the removed text, never empty) and suffix. Lines end in LF."""

    name: str
    kind: HoleKind
    prefix: str
    middle: str
    suffix: str


def sample_holes(
    files: Sequence[SourceFile], kind: HoleKind, count: int, seed: int, per_file: int = MAX_PER_FILE
) -> list[Hole]:
    """Return up to ``count`` distinct holes of one kind. The same files and seed give the same holes."""
    rng = random.Random(f"{seed}/{kind}")
    holes: list[Hole] = []
    for _ in range(per_file):
        order = sorted(files, key=lambda file: file.name)
        rng.shuffle(order)
        for file in order:
            if len(holes) == count:
                return holes
            hole = sample_hole(file, kind, rng)
            if hole and hole not in holes:
                holes.append(hole)
    return holes


def sample_hole(file: SourceFile, kind: HoleKind, rng: random.Random) -> Hole | None:
    """Return a hole of a file, or None if it has none of this kind."""
    text = file.text.replace("\r\n", "\n").replace("\r", "\n")
    span = _FINDERS[kind](file.language, text, rng)
    if span is None:
        return None
    begin, end = span
    return Hole(file.name, kind, text[:begin], text[begin:end], text[end:])


def _random_line(text: str, rng: random.Random) -> Span | None:
    """Return the content of a random line without its indentation. Lines without a letter or digit are retried."""
    for _ in range(20):
        offset = rng.randrange(len(text))
        begin, end = text.rfind("\n", 0, offset) + 1, text.find("\n", offset)
        line = text[begin : end if end >= 0 else len(text)]
        if any(character.isalnum() for character in line):
            return begin + len(line) - len(line.lstrip()), begin + len(line.rstrip())
    return None


def _line(_: str, text: str, rng: random.Random) -> Span | None:
    return _random_line(text, rng)


def _end(_: str, text: str, rng: random.Random) -> Span | None:
    """Return the end of a random line; at least one character is before the hole and one in it."""
    span = _random_line(text, rng)
    if span is None or span[1] - span[0] < 2:
        return None
    return rng.randrange(span[0] + 1, span[1]), span[1]


def _block(language: str, text: str, rng: random.Random) -> Span | None:
    spans = _blocks(language, text)
    return rng.choice(spans) if spans else None


def _span(_: str, text: str, rng: random.Random) -> Span | None:
    begin = rng.randrange(len(text))
    return begin, min(begin + rng.randint(1, MAX_SPAN), len(text))


@lru_cache(maxsize=4096)
def _blocks(language: str, text: str) -> list[Span]:
    return blocks(language, text, range(1, 9))


_FINDERS: dict[HoleKind, Callable[[str, str, random.Random], Span | None]] = {
    "end": _end,
    "line": _line,
    "block": _block,
    "span": _span,
}
