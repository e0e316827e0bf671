"""What is asked of a model at a cursor, as one prompt: context, then infilling or plain continuation.

The same for our own engine and for whoever builds the ids for another server. Knows no weights and no requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inference.text.context import ContextChunk, in_front
from inference.text.infill import infill_prompt
from inference.text.pieces import Layout
from inference.text.prompts import Prompt, completion_prompt
from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place to write at.

    Attributes:
        prefix: the text before it.
        suffix: the text after it, empty at the end of a file; None asks to continue the prefix.
        context: pieces of other files, the most important first.
    """

    prefix: str
    suffix: str | None = None
    context: Sequence[ContextChunk] = ()


def cursor_prompt(
    tokenizer: Tokenizer, cursor: Cursor, room: int, layout: Layout | None, *, healed_with: Vocabulary | None = None
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
