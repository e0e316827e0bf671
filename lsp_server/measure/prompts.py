"""From requests of a trace to the token ids that all sides get: what our engine would read for them.

The windows are the language server's, the layout and the tokenizer the model's. Torch-free.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from random import Random

from inference.models.catalog import Model
from inference.models.rows import row_of
from inference.models.store import StoreError, installed
from inference.text.infill import infill_prompt
from inference.text.loading import load_tokenizer
from inference.text.prompts import completion_prompt
from inference.text.source import SourceFile
from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import Vocabulary
from lsp_server.completion.window import prefix_window, suffix_window
from lsp_server.measure.edits import Edit
from lsp_server.measure.sides.side import BenchError
from lsp_server.measure.trace import Request
from lsp_server.settings import CompletionSettings

BUDGET = 4_096
"""Tokens a prompt may have, and a rewrite in all; the windows are smaller."""
TYPED = 4
"""Characters typed between two requests during a chat."""
TRIED = 4


@dataclass(frozen=True, slots=True)
class Recording:
    """An edit to be played back.

    Attributes:
        prompt: ids of what is rewritten.
        answer: ids of what it becomes.
        before: what is rewritten, which the answer largely repeats.
        lines: how many that are.
    """

    prompt: list[int]
    answer: tuple[int, ...]
    before: str
    lines: int

    def cut(self, prompt: int, answer: int) -> Recording:
        """The end of the prompt and the beginning of the answer, at most so many tokens each."""
        return replace(self, prompt=self.prompt[-prompt:], answer=self.answer[:answer])


@dataclass
class PromptMaker:
    """Builds ids for one model."""

    row: Model
    tokenizer: Tokenizer

    def __post_init__(self) -> None:
        self._vocabulary = Vocabulary(self.tokenizer)

    def of(self, request: Request) -> list[int]:
        """What the engine prefills for the request; what it holds out for healing is left out for all alike."""
        settings = CompletionSettings()
        prefix = prefix_window(request.prefix, settings.prefix_chars)
        suffix = suffix_window(request.suffix, settings.suffix_chars)
        if self.row.infill and (suffix or self.row.layout == "spm"):
            layout, words = self.row.layout, self._vocabulary
            return infill_prompt(self.tokenizer, prefix, suffix, BUDGET, layout, healed_with=words).ids
        return completion_prompt(self.tokenizer, prefix, BUDGET).ids

    def unseen(self, files: Sequence[SourceFile], count: int, tokens: int, seed: int) -> list[list[int]]:
        """``count`` prompts of ``tokens`` tokens of source each, which begin where no other does."""
        texts = self._texts(files, count, tokens, Random(seed))
        return [self.tokenizer.encode(text)[:tokens] for text in texts]

    def typed(self, files: Sequence[SourceFile], count: int) -> list[list[int]]:
        """``count`` requests while one stretch is typed, ``TYPED`` characters between any two of them."""
        whole = _all_of(files, 4 * TYPED * count)
        start, end = len(whole) // 2, len(whole) // 2 + TYPED * count
        cursors = range(start + TYPED, end + 1, TYPED)
        return [self.of(Request("typed", "", whole[:cursor], whole[end:], "warm")) for cursor in cursors]

    def recording(self, edit: Edit) -> Recording:
        """The edit as ids. A model would be told what to do too; how long it takes does not depend on it."""
        prompt = completion_prompt(self.tokenizer, edit.before, BUDGET).ids
        return Recording(prompt, tuple(self.tokenizer.encode_continuation(edit.after)), edit.before, edit.lines)

    def recordings(self, edits: Iterable[Edit], count: int) -> list[Recording]:
        """The first ``count`` that fit, as far as there are so many among ``TRIED`` times as many."""
        made = (self.recording(edit) for edit in islice(edits, TRIED * count))
        return list(islice((one for one in made if len(one.prompt) + len(one.answer) < BUDGET), count))

    def _texts(self, files: Sequence[SourceFile], count: int, tokens: int, dice: Random) -> list[str]:
        """Texts that are long enough: no token of code is longer than eight characters on average."""
        whole = _all_of(files, 16 * tokens)
        starts = dice.sample(range(len(whole) - 8 * tokens), count)
        return [whole[start : start + 8 * tokens] for start in starts]


def _all_of(files: Sequence[SourceFile], length: int) -> str:
    """The files one after the other, again and again if that is not ``length`` characters."""
    whole = "\n".join(file.text for file in files)
    return whole * max(-(-length // len(whole)), 1)


def prompts_for(model: str) -> PromptMaker:
    """For an installed model. Raises ``BenchError``."""
    try:
        return PromptMaker(row_of(model), load_tokenizer(installed(model)))
    except (StoreError, ValueError) as error:
        raise BenchError(str(error)) from error
