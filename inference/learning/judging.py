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
        """Of each middle after its prompt, in order. No middle is empty.

        Padding stands on the right, where a causal model's earlier positions can't see it, and the head is computed for
        the middles' tokens alone.
        """
        targets = [self.target(prompt, middle) for prompt, middle in pairs]
        rows = [[*prompt.ids, *target] for (prompt, _), target in zip(pairs, targets, strict=True)]
        longest = max(map(len, rows))
        base = self._model.get_base_model() if hasattr(self._model, "get_base_model") else self._model
        with torch.inference_mode():
            ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=base.device)
            hidden = base.model(input_ids=ids, use_cache=False).last_hidden_state
            return [
                self._judge(base.lm_head(hidden[n, len(row) - len(target) - 1 : len(row) - 1]), target, prompt.heal)
                for n, (row, target, (prompt, _)) in enumerate(zip(rows, targets, pairs, strict=True))
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
