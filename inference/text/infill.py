"""Infilling prompts with Code Llama's sentinels, and the prompt for a cursor: infilling or plain completion.

Both layouts of the paper (arXiv 2308.12950, section 2.3), id for id as facebookresearch/codellama
``llama/generation.py`` (``infilling_prompt_tokens``) builds them. The catalogue says which models infill.
The engine uses this module for itself, clients use it for remote servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inference.text.prompts import (
    TRIM_BLOCK,
    Prompt,
    PromptError,
    Snippet,
    bos_ids,
    completion_prompt,
    healing_start,
    normalize_text,
    prepend_context,
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
    """Build a prompt for the text between ``prefix`` and ``suffix``, in at most ``budget`` tokens.

    PSM: ``BOS <PRE> prefix <SUF> suffix <MID>``. SPM: ``BOS <PRE> <SUF> suffix <MID> prefix``.

    Text that does not fit is dropped at the far ends: whole blocks at the start of the prefix, so that the KV cache
    survives most keystrokes, and the end of the suffix. The budget is exceeded only below the four tokens of the format
    itself. Line endings become LF.

    With ``healed_with``, SPM leaves the last tokens of the prefix to token healing (``healing_start``). PSM needs none:
    training tokenized its middle as a separate text.

    Raises:
        PromptError: the vocabulary has no sentinels.
    """
    begin, suffix_mark, middle, end = _sentinels(tokenizer)
    if prefix.endswith("\r") and suffix.startswith("\n"):
        prefix = prefix[:-1]  # the cursor is inside CRLF: keep one line break, not two
    before = encode_end(tokenizer, normalize_text(prefix), budget)
    after = encode_start(tokenizer, normalize_text(suffix), budget)
    cut = healing_start(tokenizer, before, healed_with) if healed_with and layout == "spm" else len(before)
    heal = b"".join(map(tokenizer.piece_bytes, before[cut:])).decode()
    before = before[:cut]
    frame = [*bos_ids(tokenizer), begin]
    before, after = _fit(before, after, max(budget - len(frame) - 2, 0))
    if layout == "psm":
        ids = [*frame, *before, suffix_mark, *after, middle]
    else:
        ids = [*frame, suffix_mark, *after, middle, *before]
    return Prompt(ids, tokenizer.eos_ids | {end}, heal)


def _fit(before: list[int], after: list[int], room: int) -> tuple[list[int], list[int]]:
    """Share ``room`` tokens: the prefix has priority, but a quarter is reserved for the suffix.

    The suffix is cut to whole blocks too: in SPM any change of the suffix invalidates the KV cache.
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
            "This model's vocabulary has no infilling sentinels, so it can only continue a prefix. "
            "Choose a model that infills, such as CodeLlama-7b."
        )
    return begin, suffix, middle, end


@dataclass(frozen=True, slots=True)
class CursorRequest:
    """The text around a cursor.

    Attributes:
        prefix: the text before the cursor.
        suffix: the text after the cursor, empty at the end of a file; None for plain completion.
        context: snippets of other files, the most important first.
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
    """Build the prompt for a cursor in at most ``room`` tokens; also return the suffix if it is not in the prompt.

    ``layout`` is None for a model that does not infill. Raises ``PromptError`` if the vocabulary has no sentinels.
    """
    following = cursor.suffix or ""
    prefix = prepend_context(tokenizer, cursor.context, cursor.prefix, following, room)
    if layout and cursor.suffix is not None and _infills(cursor.suffix, layout):
        return infill_prompt(tokenizer, prefix, cursor.suffix, room, layout, healed_with=healed_with), ""
    return completion_prompt(tokenizer, prefix, room, healed_with=healed_with), following


def _infills(suffix: str, layout: Layout) -> bool:
    """Return True if an infilling prompt beats plain completion before ``suffix``.

    At the end of a file (empty suffix), an SPM prompt still ends in the prefix, and the model was trained to end the
    middle. A PSM prompt ends in ``<MID>``; an empty suffix was rare in training, and plain completion is better.
    """
    return suffix != "" or layout == "spm"
