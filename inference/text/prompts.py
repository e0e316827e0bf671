"""Prompts as token ids, never as strings: what all of them share, and plain completion from a prefix.

Infilling is in ``infill``, chat in ``chat``. Knows no weights and no requests; torch-free, so that a client of a
foreign server can build the same ids. A prompt too long is cut, never refused: the user gets an answer from what fits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from inference.text.tokenizer import Tokenizer

TRIM_BLOCK = 256
"""A prompt too long loses whole blocks from its far end, so that its start, and with it the KV cache, moves rarely."""

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model reads, and how it is to answer.

    Attributes:
        ids: the tokens to prefill.
        heal: text that the answer must begin with and that is not part of it (see ``generation.healing``).
        stop_ids: ids that end the answer.
    """

    ids: list[int]
    stop_ids: frozenset[int]
    heal: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; ``role`` is system, user or assistant."""

    role: str
    content: str


class PromptError(ValueError):
    """The request cannot be put to this model; the message says why and what to do."""


def completion_prompt(tokenizer: Tokenizer, prefix: str, budget: int) -> Prompt:
    """Continue ``prefix``; of a prompt longer than ``budget`` tokens the far end is dropped.

    Trailing blanks are held out of the prompt and given back by healing: BPE vocabularies join them with the word that
    follows, so a prompt that ends in them asks for a token sequence the model has never seen.
    """
    prefix = clean(prefix)
    stem = prefix.rstrip(" \t") or prefix
    begin = begin_ids(tokenizer)
    ids = trim_start(tokenizer.encode(stem), max(budget - len(begin), 1))
    return Prompt(begin + ids, tokenizer.eos_ids, heal=prefix[len(stem) :])


def clean(text: str) -> str:
    """The text as models saw it in training: lines end in LF, whatever the file's own ending is.

    A client that inserts an answer puts the file's line endings back. Halves of surrogate pairs, which JSON can carry
    but no vocabulary can encode, become U+FFFD.
    """
    return _SURROGATE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def trim_start(ids: list[int], budget: int) -> list[int]:
    """Drop whole blocks from the front until ``budget`` tokens are left."""
    if len(ids) <= budget:
        return ids
    excess = len(ids) - budget
    dropped = -(-excess // TRIM_BLOCK) * TRIM_BLOCK
    return ids[dropped if dropped < len(ids) else excess :]


def begin_ids(tokenizer: Tokenizer) -> list[int]:
    """What every prompt starts with: BOS, or nothing."""
    return [] if tokenizer.bos_id is None else [tokenizer.bos_id]
