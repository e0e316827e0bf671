"""Prompts as token ids, never as strings: what all of them share, and plain completion from a prefix.

Infilling is in ``infill``, chat in ``chat``. Knows no weights and no requests; torch-free, so that a client of a
foreign server can build the same ids. A prompt too long is cut, never refused: the user gets an answer from what fits.

What a prompt tells of other files: chunks of them as comments with their path, in front of the prefix.

Torch-free; knows no model and not where chunks come from. Whoever sends them says by their order what matters most.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from inference.text.languages import comment_mark, language_of
from inference.text.tokenizer import Tokenizer, encode_end, encode_start
from inference.text.vocabulary import Vocabulary

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
        dropped: how many messages of a conversation, its oldest, there was no room for.
        cut: tokens that a question too long by itself lost from its middle.
    """

    ids: list[int]
    stop_ids: frozenset[int]
    heal: str = ""
    dropped: int = 0
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; ``role`` is system, user or assistant."""

    role: str
    content: str


class PromptError(ValueError):
    """The request cannot be put to this model; the message says why and what to do."""


def completion_prompt(
    tokenizer: Tokenizer, prefix: str, budget: int, *, healed_with: Vocabulary | None = None
) -> Prompt:
    """Continue ``prefix``; of a prompt longer than ``budget`` tokens the far end is dropped.

    With the vocabulary to be ``healed_with``, the last tokens it might join with what follows are held out of the
    prompt (``joined_from``) and given back by healing; else trailing blanks alone, which BPE vocabularies join with the
    word that follows. A prompt that ends in them asks for a token sequence the model has never seen.
    """
    prefix = clean(prefix)
    begin = begin_ids(tokenizer)
    if healed_with:
        ids = encode_end(tokenizer, prefix, budget)
        cut = joined_from(tokenizer, ids, healed_with)
        cut = cut if cut or begin else len(ids)  # something must be left to continue
        ids, heal = ids[:cut], b"".join(map(tokenizer.piece_bytes, ids[cut:])).decode()
    else:
        stem = prefix.rstrip(" \t") or prefix
        ids, heal = encode_end(tokenizer, stem, budget), prefix[len(stem) :]
    return Prompt(begin + trim_start(ids, max(budget - len(begin), 1)), tokenizer.eos_ids, heal)


def joined_from(tokenizer: Tokenizer, ids: list[int], vocabulary: Vocabulary) -> int:
    """Index of the first of those last tokens that the vocabulary might join with what follows.

    From there on the bytes are how some token begins: half a word, or an indentation, whose last blank goes with the
    word after it. Cut at 6,000 random characters, what is left of Python and JavaScript files was to 99.7 % how the
    starter's vocabulary begins the uncut text too; with the last token alone held out to 88.5 %, with none to 28.9 %.
    Never inside a character, nor at a vocabulary's implicit first space, which stands for no byte of the text.
    """
    first = 0 if tokenizer.encode("x") == tokenizer.encode_continuation("x") else 1
    tail, cut = b"", len(ids)
    for n in range(len(ids) - 1, first - 1, -1):
        tail = tokenizer.piece_bytes(ids[n]) + tail
        if len(tail) > vocabulary.longest:
            break
        if _is_text(tail) and vocabulary.begins(tail):
            cut = n
    return cut


def _is_text(tail: bytes) -> bool:
    try:
        return bool(tail.decode())
    except UnicodeDecodeError:
        return False


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


def prompt_of_ids(
    ids: Sequence[int], stop_ids: frozenset[int], vocabulary: int, context: int, forced: Sequence[int] = ()
) -> Prompt:
    """The prompt of who built it elsewhere. Raises PromptError for ids that are none, or too many for the context."""
    if not ids:
        raise PromptError("A prompt of token ids needs at least one id.")
    if any(not 0 <= i < vocabulary for i in (*ids, *forced)):
        raise PromptError(f"Token ids must lie from 0 to {vocabulary - 1}.")
    if len(ids) >= context:
        raise PromptError(f"The prompt has {len(ids)} tokens; this model's context is {context}.")
    return Prompt(list(ids), stop_ids)


SHARE = 2
"""Of the room for a prompt, one part in this many is the context's at most."""
FRAME = 8
"""Tokens that a prompt's format may take beside its text."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of another file. ``path`` is for the model to read, relative and with slashes."""

    path: str
    text: str


def in_front(tokenizer: Tokenizer, chunks: Sequence[Snippet], prefix: str, suffix: str, room: int) -> str:
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


def as_comment(chunk: Snippet) -> str:
    """Every line of the chunk, and its path before them, as comments of its language; ends with a line end."""
    mark = comment_mark(language_of(PurePosixPath(chunk.path)) or "") or "#"
    lines = [f"Path: {chunk.path}", *clean(chunk.text).strip("\n").split("\n")]
    return "".join(f"{mark} {line}".rstrip() + "\n" for line in lines)
