"""Infilling prompts: what stands between a prefix and a suffix, asked with Code Llama's sentinels.

Both layouts of the paper (arXiv 2308.12950, section 2.3), id for id as facebookresearch/codellama
``llama/generation.py`` (``infilling_prompt_tokens``) builds them. Knows no weights: whether a model was *trained* to
infill is the catalogue's to say.

What is asked of a model at a cursor, as one prompt: context, then infilling or plain continuation.

The same for our own engine and for whoever builds the ids for another server. Knows no weights and no requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inference.text.prompts import (
    TRIM_BLOCK,
    Prompt,
    PromptError,
    Snippet,
    begin_ids,
    clean,
    completion_prompt,
    in_front,
    joined_from,
    trim_start,
)
from inference.text.tokenizer import Tokenizer, encode_end, encode_start
from inference.text.vocabulary import END_OF_INFILL, MIDDLE, PREFIX, SUFFIX, Layout, Vocabulary


def infill_prompt(
    tokenizer: Tokenizer,
    prefix: str,
    suffix: str,
    budget: int,
    layout: Layout = "psm",
    *,
    healed_with: Vocabulary | None = None,
) -> Prompt:
    """Ask for the text between ``prefix`` and ``suffix``, in at most ``budget`` tokens.

    What does not fit is dropped at the far ends: whole blocks from the prefix's start, so that the KV cache survives
    most keystrokes, and the suffix's end. Line endings become LF on both sides. Only below the four tokens of the
    format itself is the budget not kept. With the vocabulary to be ``healed_with``, in SPM the prefix's last tokens are
    held out for the answer to begin with (``joined_from``); in PSM the middle is a text of its own, and nothing is.
    Raises ``PromptError`` where the vocabulary has no sentinels.
    """
    begin, suffix_mark, middle, end = _sentinels(tokenizer)
    if prefix.endswith("\r") and suffix.startswith("\n"):
        prefix = prefix[:-1]  # a cursor inside CRLF: one line break, not two
    before = encode_end(tokenizer, clean(prefix), budget)
    after = encode_start(tokenizer, clean(suffix), budget)
    cut = joined_from(tokenizer, before, healed_with) if healed_with and layout == "spm" else len(before)
    heal = b"".join(map(tokenizer.piece_bytes, before[cut:])).decode()
    before = before[:cut]
    frame = [*begin_ids(tokenizer), begin]
    before, after = _fit(before, after, max(budget - len(frame) - 2, 0))
    if layout == "psm":
        ids = [*frame, *before, suffix_mark, *after, middle]
    else:
        ids = [*frame, suffix_mark, *after, middle, *before]
    return Prompt(ids, tokenizer.eos_ids | {end}, heal)


def _fit(before: list[int], after: list[int], room: int) -> tuple[list[int], list[int]]:
    """Share ``room`` tokens: the prefix goes first, a quarter is the suffix's in any case.

    The suffix's share moves in whole blocks too, as SPM's KV cache lasts only as long as the suffix stays the same.
    """
    if len(before) + len(after) <= room:
        return before, after
    spare = max(room - len(before), 0) // TRIM_BLOCK * TRIM_BLOCK
    after = after[: max(room // 4, spare)]
    return trim_start(before, room - len(after)), after


def _sentinels(tokenizer: Tokenizer) -> tuple[int, int, int, int]:
    ids = [tokenizer.control_id(piece) for piece in (PREFIX, SUFFIX, MIDDLE, END_OF_INFILL)]
    begin, suffix, middle, end = ids
    if begin is None or suffix is None or middle is None or end is None:
        raise PromptError(
            "This model's vocabulary has no infilling sentinels, so it can only continue a prefix; "
            "choose a model that infills, such as CodeLlama-7b."
        )
    return begin, suffix, middle, end


@dataclass(frozen=True, slots=True)
class CursorRequest:
    """A place to write at.

    Attributes:
        prefix: the text before it.
        suffix: the text after it, empty at the end of a file; None asks to continue the prefix.
        context: pieces of other files, the most important first.
    """

    prefix: str
    suffix: str | None = None
    context: Sequence[Snippet] = ()


def cursor_prompt(
    tokenizer: Tokenizer,
    cursor: CursorRequest,
    room: int,
    layout: Layout | None,
    *,
    healed_with: Vocabulary | None = None,
) -> tuple[Prompt, str]:
    """The prompt, in at most ``room`` tokens, and what follows the answer and is not in the prompt.

    ``layout`` is that of a model that infills, None for one that does not. Raises ``PromptError`` where the vocabulary
    has no sentinels.
    """
    following = cursor.suffix or ""
    prefix = in_front(tokenizer, cursor.context, cursor.prefix, following, room)
    if layout and cursor.suffix is not None and _infills(cursor.suffix, layout):
        return infill_prompt(tokenizer, prefix, cursor.suffix, room, layout, healed_with=healed_with), ""
    return completion_prompt(tokenizer, prefix, room, healed_with=healed_with), following


def _infills(suffix: str, layout: Layout) -> bool:
    """Whether to ask for what stands before ``suffix``.

    At the end of a file SPM still reads as a text to continue, by a model that was taught where to end. PSM would have
    to begin anew after the prefix, which it saw seldom there and continues better as plain text.
    """
    return suffix != "" or layout == "spm"
