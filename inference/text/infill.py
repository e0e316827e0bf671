"""Infilling prompts: what stands between a prefix and a suffix, asked with Code Llama's sentinels.

Both layouts of the paper (arXiv 2308.12950, section 2.3), id for id as facebookresearch/codellama
``llama/generation.py`` (``infilling_prompt_tokens``) builds them. Knows no weights: whether a model was *trained* to
infill is the catalogue's to say.
"""

from __future__ import annotations

from inference.text.ends import encode_end, encode_start
from inference.text.pieces import END_OF_INFILL, MIDDLE, PREFIX, SUFFIX, Layout
from inference.text.prompts import TRIM_BLOCK, Prompt, PromptError, begin_ids, clean, joined_from, trim_start
from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import Vocabulary


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
