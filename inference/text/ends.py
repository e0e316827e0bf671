"""Encode the end or the beginning of a long text, without encoding all of it.

A document of megabytes takes a vocabulary seconds and gigabytes, and a prompt has room for kilobytes of it. So the text
is cut first, generously. Torch-free; knows no prompts.
"""

from __future__ import annotations

import re

from inference.text.tokenizer import Tokenizer

CHARACTERS_A_TOKEN = 4
"""Characters tried at first for each token wanted, about what code has. Twice as many are tried next."""

SLACK = 64
"""Tokens next to a cut that are not used: there the cut may have changed what is joined with what."""

BLOCK = 8192
"""A text is cut at multiples of so many characters, so that the cut, and with it the KV cache, lasts while typing."""

SEARCHED = 1024
"""Characters in which a line end is looked for: no vocabulary joins a letter with it, so a cut there changes least."""

MOST_CHARACTERS_A_TOKEN = 32
"""More than the average of any text: a longer one does not fit, whatever it says."""

_LINE_END = re.compile(r"\S\n")


def encode_end(tokenizer: Tokenizer, text: str, tokens: int) -> list[int]:
    """Return all ids of ``text`` at the start of a sequence, or more than ``tokens`` of its last ids."""
    size = _first_size(tokens)
    while (start := (len(text) - size) // BLOCK * BLOCK) > 0:
        line_end = _LINE_END.search(text, start, start + SEARCHED)
        ids = tokenizer.encode_continuation(text[line_end.start() + 1 if line_end else start :])[SLACK:]
        if len(ids) > tokens:
            return ids
        size *= 2
    return tokenizer.encode(text)


def encode_start(tokenizer: Tokenizer, text: str, tokens: int) -> list[int]:
    """Return all ids of ``text`` as a continuation, or more than ``tokens`` of its first ids."""
    size = _first_size(tokens)
    while size < len(text):
        ids = tokenizer.encode_continuation(text[:size])[:-SLACK]
        if len(ids) > tokens:
            return ids
        size *= 2
    return tokenizer.encode_continuation(text)


def without_middle(text: str, tokens: int) -> str:
    """Return ``text``, or its beginning and end where it is too long for ``tokens`` tokens whatever it says."""
    half = (tokens + SLACK) * MOST_CHARACTERS_A_TOKEN // 2
    return text if len(text) <= 2 * half else text[:half] + text[-half:]


def _first_size(tokens: int) -> int:
    return (max(tokens, 0) + 2 * SLACK) * CHARACTERS_A_TOKEN
