"""Prompts for a hole in each layout, all with the same window of text, so that only the layout differs. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from inference.text.holes import Hole
from inference.text.infill import infill_prompt
from inference.text.prompts import Prompt, PromptError, completion_prompt
from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import Vocabulary

PromptLayout = Literal["prefix", "psm", "spm"]
"""Continue the prefix alone, or infill in one of the two layouts of ``inference.text.infill``."""

LAYOUTS: tuple[PromptLayout, ...] = get_args(PromptLayout)

SUFFIX_SHARE = 3
"""The suffix gets a third of the window, as in the language server: 1,000 characters to 2,000 of the prefix."""

MAX_CHARACTERS = 16
"""Characters per token after which text is not even tokenised: few tokens stand for more."""

_UNLIMITED = 1 << 30
"""Token budget of the prompt builders: the window is cut before."""


def build_prompt(tokenizer: Tokenizer, vocabulary: Vocabulary, hole: Hole, layout: PromptLayout, tokens: int) -> Prompt:
    """Build the prompt in one layout as the engine does, with at most ``tokens`` tokens of text.

    Raises PromptError as ``infill_prompt`` does, and if there is no prefix to continue.
    """
    before, after = text_windows(tokenizer, hole, tokens)
    if layout != "prefix":
        return infill_prompt(tokenizer, before, after, _UNLIMITED, layout, healed_with=vocabulary)
    prompt = completion_prompt(tokenizer, before, _UNLIMITED, healed_with=vocabulary)
    if not prompt.ids:
        raise PromptError(f"{hole.name} has no text before the hole, so there is nothing to continue.")
    return prompt


def text_windows(tokenizer: Tokenizer, hole: Hole, tokens: int) -> tuple[str, str]:
    """Return the end of the prefix and the start of the suffix, at most ``tokens`` tokens together."""
    after = tokens // SUFFIX_SHARE
    return _tail(tokenizer, hole.prefix, tokens - after), _head(tokenizer, hole.suffix, after)


def _tail(tokenizer: Tokenizer, text: str, tokens: int) -> str:
    text = text[max(len(text) - tokens * MAX_CHARACTERS, 0) :]
    ids = tokenizer.encode(text)
    if len(ids) <= tokens:
        return text
    return text[len(text) - _characters(tokenizer, ids[len(ids) - tokens :]) :]


def _head(tokenizer: Tokenizer, text: str, tokens: int) -> str:
    text = text[: tokens * MAX_CHARACTERS]
    ids = tokenizer.encode_continuation(text)
    return text if len(ids) <= tokens else text[: _characters(tokenizer, ids[:tokens])]


def _characters(tokenizer: Tokenizer, ids: Sequence[int]) -> int:
    """Count the whole characters in these tokens; incomplete ones at either end don't count."""
    return len(b"".join(map(tokenizer.piece_bytes, ids)).decode("utf-8", errors="ignore"))
