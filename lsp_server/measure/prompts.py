"""From requests of a trace to the token ids that all sides get: what our engine would read for them.

The windows are the language server's, the layout and the tokenizer the model's. Torch-free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from lsp_server.measure.sides.side import BenchError
from lsp_server.measure.trace import Request
from lsp_server.settings import CompletionSettings

BUDGET = 4_096
"""Tokens a prompt may have; the windows are smaller."""


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

    def _texts(self, files: Sequence[SourceFile], count: int, tokens: int, dice: Random) -> list[str]:
        """Texts that are long enough: no token of code is longer than eight characters on average."""
        whole = "\n".join(file.text for file in files)
        while len(whole) < 16 * tokens:
            whole += whole
        starts = dice.sample(range(len(whole) - 8 * tokens), count)
        return [whole[start : start + 8 * tokens] for start in starts]


def prompts_for(model: str) -> PromptMaker:
    """For an installed model. Raises ``BenchError``."""
    try:
        return PromptMaker(row_of(model), load_tokenizer(installed(model)))
    except (StoreError, ValueError) as error:
        raise BenchError(str(error)) from error
