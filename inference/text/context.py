"""What a prompt tells of other files: chunks of them as comments with their path, in front of the prefix.

Torch-free; knows no model and not where chunks come from. Whoever sends them says by their order what matters most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from inference.text.ends import encode_end, encode_start
from inference.text.languages import comment_mark, language_of
from inference.text.prompts import TRIM_BLOCK, clean
from inference.text.tokenizer import Tokenizer

SHARE = 2
"""Of the room for a prompt, one part in this many is the context's at most."""
FRAME = 8
"""Tokens that a prompt's format may take beside its text."""


@dataclass(frozen=True, slots=True)
class ContextChunk:
    """A piece of another file. ``path`` is for the model to read, relative and with slashes."""

    path: str
    text: str


def in_front(tokenizer: Tokenizer, chunks: Sequence[ContextChunk], prefix: str, suffix: str, room: int) -> str:
    """``prefix`` with as many chunks before it as ``room`` tokens leave place for, the most important ones nearest.

    A chunk is taken whole or not at all. What the prefix and the suffix leave is rounded down to blocks, so that the
    same chunks are taken while a person types, and the KV cache lasts.
    """
    if not chunks:
        return prefix
    before, after = encode_end(tokenizer, clean(prefix), room), encode_start(tokenizer, clean(suffix), room)
    taken = len(before) + len(after) + FRAME
    free = min(max(room - taken, 0) // TRIM_BLOCK * TRIM_BLOCK, room // SHARE)
    kept: list[str] = []
    for chunk in chunks:
        if clean(chunk.text).strip("\n").count("\n") > free:  # each line takes a token at least
            continue
        text = as_comment(chunk)
        size = len(encode_end(tokenizer, text, free))
        if size <= free:
            free -= size
            kept.append(text)
    return "".join(reversed(kept)) + prefix


def as_comment(chunk: ContextChunk) -> str:
    """Every line of the chunk, and its path before them, as comments of its language; ends with a line end."""
    mark = comment_mark(language_of(PurePosixPath(chunk.path)) or "") or "#"
    lines = [f"Path: {chunk.path}", *clean(chunk.text).strip("\n").split("\n")]
    return "".join(f"{mark} {line}".rstrip() + "\n" for line in lines)
