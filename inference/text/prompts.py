"""Prompts as token ids, never as strings: shared parts, plain completion and cross-file context.

``infill`` builds infilling prompts, ``chat_prompts`` chats. A prompt that is too long is cut, not refused. Torch-free:
clients of remote servers build the same ids.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from inference.errors import CodeLlamaError
from inference.text.languages import comment_mark, language_of
from inference.text.tokenizer import Tokenizer, encode_end, encode_start
from inference.text.vocabulary import Vocabulary

TRIM_BLOCK = 256
"""A prompt that is too long loses whole blocks of tokens, so that its start, and with it the KV cache, rarely moves."""

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and the constraints on its completion.

    Attributes:
        ids: the tokens to prefill.
        heal: token healing: text that the generation must begin with and that is not part of the completion.
        stop_ids: ids that end the completion.
        dropped: number of the oldest messages of a conversation that did not fit.
        cut: number of tokens removed from the middle of a message that does not fit by itself.
    """

    ids: list[int]
    stop_ids: frozenset[int]
    heal: str = ""
    dropped: int = 0
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation. ``role`` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Snippet:
    """Cross-file context: a part of another file. ``path`` is relative and has slashes; the model reads it."""

    path: str
    text: str


class PromptError(CodeLlamaError, ValueError):
    """The request cannot be expressed as a prompt for this model."""


def completion_prompt(
    tokenizer: Tokenizer, prefix: str, budget: int, *, healed_with: Vocabulary | None = None
) -> Prompt:
    """Build a prompt that continues ``prefix``, with at most ``budget`` tokens of its end.

    With ``healed_with``, the last tokens that may merge with what follows are left to token healing
    (``healing_start``). Otherwise only trailing blanks are, which BPE vocabularies merge with the next word: after a
    prompt that ends in blanks, the model would see tokens unlike those it was trained on.
    """
    prefix = normalize_text(prefix)
    begin = bos_ids(tokenizer)
    if healed_with:
        ids = encode_end(tokenizer, prefix, budget)
        cut = healing_start(tokenizer, ids, healed_with)
        cut = cut if cut or begin else len(ids)  # at least one token must remain
        ids, heal = ids[:cut], b"".join(map(tokenizer.piece_bytes, ids[cut:])).decode()
    else:
        stem = prefix.rstrip(" \t") or prefix
        ids, heal = encode_end(tokenizer, stem, budget), prefix[len(stem) :]
    return Prompt(begin + trim_start(ids, max(budget - len(begin), 1)), tokenizer.eos_ids, heal)


def healing_start(tokenizer: Tokenizer, ids: list[int], vocabulary: Vocabulary) -> int:
    """Return the index of the first of the last tokens that may merge with what follows.

    The bytes from there on begin some token of the vocabulary: half a word, or an indentation, whose last blank merges
    with the next word. Cut at 6,000 random characters of Python and JavaScript, 99.7 % of the remaining prompts were a
    prefix of the tokens of the uncut text (starter's vocabulary); 88.5 % if only the last token is held out, 28.9 % if
    none is. The index is never inside a character, nor at an implicit first space, which is no byte of the text.
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


def normalize_text(text: str) -> str:
    """Return ``text`` as in training: all line endings become LF, and lone surrogates U+FFFD.

    JSON can carry lone surrogates, but no vocabulary can encode them. Clients that insert a completion restore the
    file's line endings.
    """
    return _SURROGATE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def trim_start(ids: list[int], budget: int) -> list[int]:
    """Drop whole blocks from the front until ``budget`` tokens are left."""
    if len(ids) <= budget:
        return ids
    excess = len(ids) - budget
    dropped = -(-excess // TRIM_BLOCK) * TRIM_BLOCK
    return ids[dropped if dropped < len(ids) else excess :]


def bos_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids that every prompt starts with: BOS, or nothing."""
    return [] if tokenizer.bos_id is None else [tokenizer.bos_id]


def prompt_from_ids(
    ids: Sequence[int], stop_ids: frozenset[int], vocabulary: int, context: int, forced: Sequence[int] = ()
) -> Prompt:
    """Build a prompt from a client's token ids. Raises PromptError for invalid ids, or too many for the context."""
    if not ids:
        raise PromptError("A prompt of token ids needs at least one id.")
    if any(not 0 <= i < vocabulary for i in (*ids, *forced)):
        raise PromptError(f"Token ids must lie from 0 to {vocabulary - 1}.")
    if len(ids) >= context:
        raise PromptError(f"The prompt has {len(ids)} tokens; this model's context is {context}.")
    return Prompt(list(ids), stop_ids)


CONTEXT_SHARE = 2
"""Cross-file context takes at most one part in this many of the room for a prompt."""
FORMAT_TOKENS = 8
"""Tokens that a prompt's format may take in addition to its text."""


def prepend_context(tokenizer: Tokenizer, snippets: Sequence[Snippet], prefix: str, suffix: str, room: int) -> str:
    """Return ``prefix`` with as many snippets before it as fit into ``room`` tokens, the most important ones nearest.

    A snippet is used whole or not at all. The room that prefix and suffix leave is rounded down to whole blocks: the
    same snippets are used while the user types, and the KV cache stays valid.
    """
    if not snippets:
        return prefix
    before, after = (
        encode_end(tokenizer, normalize_text(prefix), room),
        encode_start(tokenizer, normalize_text(suffix), room),
    )
    taken = len(before) + len(after) + FORMAT_TOKENS
    free = min(max(room - taken, 0) // TRIM_BLOCK * TRIM_BLOCK, room // CONTEXT_SHARE)
    kept: list[str] = []
    for snippet in snippets:
        if normalize_text(snippet.text).strip("\n").count("\n") > free:  # each line takes at least one token
            continue
        text = as_comment(snippet)
        size = len(encode_end(tokenizer, text, free))
        if size <= free:
            free -= size
            kept.append(text)
    return "".join(reversed(kept)) + prefix


def as_comment(snippet: Snippet) -> str:
    """Return the snippet, below its path, as comments in its language. The text ends with a line end."""
    mark = comment_mark(language_of(PurePosixPath(snippet.path)) or "") or "#"
    lines = [f"Path: {snippet.path}", *normalize_text(snippet.text).strip("\n").split("\n")]
    return "".join(f"{mark} {line}".rstrip() + "\n" for line in lines)
