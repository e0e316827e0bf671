"""How likely a model holds the true middle to be, teacher-forced: a measure that needs far fewer holes than answers do.

Where the prompt is to be healed, the first tokens are judged among those that agree with what is there already, exactly
as they are when an answer is generated. Knows no holes and no layouts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.generation.healing import Healing, Vocabulary
from inference.learning.generating import padded
from inference.text.prompts import Prompt
from inference.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Negative log-likelihood of a text in nats, its end token left out, and how many tokens it was read as."""

    nats: float
    tokens: int


class Judge:
    """A transformers model and its vocabulary, reading texts that it did not write."""

    def __init__(self, model: Any, tokenizer: Tokenizer, vocabulary: Vocabulary | None = None) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary or Vocabulary(tokenizer)

    def target(self, prompt: Prompt, middle: str) -> list[int]:
        """The tokens in which ``middle`` follows ``prompt``: what was held out for healing comes first."""
        return self._tokenizer.encode_continuation(prompt.heal + middle)

    def read(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Likelihood]:
        """Of each middle after its prompt, in order; texts of like length belong together. No middle is empty."""
        targets = [self.target(prompt, middle) for prompt, middle in pairs]
        rows = [[*prompt.ids, *target] for (prompt, _), target in zip(pairs, targets, strict=True)]
        ids, mask = padded(rows, self._model.device)
        kept = max(map(len, targets)) + 1
        with torch.inference_mode():
            logits = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
                logits_to_keep=kept,
                use_cache=False,
            ).logits
        return [
            self._judge(logits[n, kept - 1 - len(target) : kept - 1], target, pairs[n][0].heal)
            for n, target in enumerate(targets)
        ]

    def _judge(self, logits: Tensor, target: list[int], heal: str) -> Likelihood:
        """Of one text; ``logits`` [tokens, vocabulary] are those from which each of its tokens would be chosen."""
        logits = logits.float()
        norms = logits.logsumexp(-1)
        healing = Healing(self._vocabulary, self._tokenizer, heal)
        for n, token in enumerate(target):
            allowed = healing.allowed()
            if not allowed:
                break
            norms[n] = logits[n, sorted({*allowed, token})].logsumexp(-1)
            healing.accept(token)
        chosen = logits.gather(-1, torch.tensor(target, device=logits.device)[:, None])[:, 0]
        return Likelihood(float((norms - chosen).double().sum()), len(target))
