"""Greedy answers to a batch of prompts at once, through transformers' ``generate``, healed and stopped row by row.

An evaluation is a thousand prompts that nobody waits for: in batches the weights are read once for all of them. What
comes out is what the engine's own decode loop writes, token for token in float32. Knows no holes and no scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from inference.generation.healing import Healing, Vocabulary
from inference.text.detokenize import Detokenizer
from inference.text.prompts import Prompt
from inference.text.stopping import Stopper, StopRule
from inference.text.tokenizer import Tokenizer

Ended = Literal["model", "rule", "length"]
"""What ended an answer: the model's own end token, the stop rule, or that it became too long."""


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt, where its answer is cut, and how many tokens it may have (what healing costs comes on top)."""

    prompt: Prompt
    rule: StopRule
    most_tokens: int

    @property
    def room(self) -> int:
        """Tokens to generate at most: each healed byte may take one."""
        return self.most_tokens + len(self.prompt.heal.encode())


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; ``tokens`` counts those that were healed, and not the end token."""

    text: str
    ended: Ended
    tokens: int


@dataclass
class _Row:
    """One answer while it grows."""

    request: Request
    healing: Healing
    text: Detokenizer
    stopper: Stopper
    shown: list[str] = field(default_factory=list)
    tokens: int = 0
    ended: Ended | None = None

    def accept(self, token: int) -> None:
        """``token`` was chosen."""
        if token in self.request.prompt.stop_ids:
            self.ended = "model"
            return
        self.tokens += 1
        self.healing.accept(token)
        self.shown.append(self.stopper.feed(self.text.feed(token)))
        if self.stopper.cause:
            self.ended = "rule"
        elif self.tokens >= self.request.room:
            self.ended = "length"

    def answer(self) -> Answer:
        """The whole of it, once it has ended."""
        rest = "" if self.stopper.cause else self.stopper.feed(self.text.finish()) + self.stopper.finish()
        return Answer("".join(self.shown) + rest, self.ended or "length", self.tokens)


class _Mask(LogitsProcessor):
    """Leaves to each row only the tokens that agree with what is there already."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self._rows = rows

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # type: ignore[override]
        for n, row in enumerate(self._rows):
            if row.ended is None and (allowed := row.healing.allowed()):
                kept = scores[n, allowed].clone()
                scores[n] = -torch.inf
                scores[n, allowed] = kept
        return scores


class _Judge(StoppingCriteria):
    """Hands each row its new token, and tells which rows have ended."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self._rows = rows

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:  # type: ignore[override]
        for row, token in zip(self._rows, input_ids[:, -1].tolist(), strict=True):
            if row.ended is None:
                row.accept(token)
        return torch.tensor([row.ended is not None for row in self._rows], device=input_ids.device)


class Generator:
    """A transformers model and its vocabulary, answering batches."""

    def __init__(self, model: Any, tokenizer: Tokenizer, vocabulary: Vocabulary | None = None) -> None:
        self._model = model
        self._model.generation_config = GenerationConfig()  # a checkpoint's own adds end tokens: the rows know theirs
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary or Vocabulary(tokenizer)

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Greedy answers, in order. Rows wait for the longest of them, so prompts of like length belong together."""
        rows = [self._row(request) for request in requests]
        ids, mask = _padded([request.prompt.ids for request in requests], self._model.device)
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=max(request.room for request in requests),
            pad_token_id=0,
        )
        with torch.inference_mode():
            self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=settings,
                logits_processor=LogitsProcessorList([_Mask(rows)]),
                stopping_criteria=StoppingCriteriaList([_Judge(rows)]),
            )
        return [row.answer() for row in rows]

    def _row(self, request: Request) -> _Row:
        heal = request.prompt.heal
        healing = Healing(self._vocabulary, self._tokenizer, heal)
        return _Row(request, healing, Detokenizer(self._tokenizer, len(heal.encode())), Stopper(request.rule))


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids padded on the left to [rows, longest], and the mask that is 1 where a token stands."""
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask
