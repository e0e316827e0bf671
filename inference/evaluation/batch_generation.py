"""How likely a model held a text to be, from the logits it gave while reading it.

Where a prompt is healed, the first tokens are judged among those that agree with what is there already, exactly as they
are when an answer is generated. Knows no model.

Greedy answers to a batch of prompts at once, healed and stopped row by row, and how likely the true answers were.

An evaluation is a thousand prompts that nobody waits for: in batches the weights are read once for all rows. The true
middle is read on the same prefill, which costs most, and rows that have ended leave the batch; transformers'
``generate`` can do neither. What comes out is what the engine's own decode loop writes, token for token in float32.
Knows no holes and no layouts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import DynamicCache

from inference.engine.sampling import Healing
from inference.text.prompts import Prompt
from inference.text.stopping import Stopper, StopRule
from inference.text.tokenizer import Detokenizer, Tokenizer
from inference.text.vocabulary import Vocabulary


def nats(logits: Tensor, target: Sequence[int], healing: Healing) -> float:
    """Negative log-likelihood of ``target``; ``logits`` [tokens, vocabulary] are those each token is chosen from."""
    norms = logits.logsumexp(-1)
    for n, token in enumerate(target):
        allowed = healing.allowed()
        if not allowed:
            break
        norms[n] = logits[n, sorted({*allowed, token})].logsumexp(-1)  # a byte may have two tokens: either will do
        healing.accept(token)
    chosen = logits.gather(-1, torch.tensor(target, device=logits.device)[:, None])[:, 0]
    return float((norms - chosen).double().sum())


Ended = Literal["model", "rule", "length"]
"""What ended an answer: the model's own end token, the stop rule, or that it became too long."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """One prompt of a batch.

    Attributes:
        prompt: what the model reads.
        rule: where its answer is cut.
        most_tokens: tokens of an answer at most; what healing costs comes on top.
        middle: the true answer, whose likelihood is read; not empty.
    """

    prompt: Prompt
    rule: StopRule
    most_tokens: int
    middle: str

    @property
    def room(self) -> int:
        """Tokens to generate at most: each healed byte may take one."""
        return self.most_tokens + len(self.prompt.heal.encode())


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What came of one request.

    Attributes:
        text: the answer, without what was healed.
        ended: by what.
        tokens: of the answer, with those that were healed and without the end token.
        nats: the true middle's negative log-likelihood, its end left out.
        nats_tokens: in how many tokens it was read.
    """

    text: str
    ended: Ended
    tokens: int
    nats: float
    nats_tokens: int


@dataclass
class _Row:
    """One answer while it grows."""

    request: BatchRequest
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

    def answer(self, nats: float, nats_tokens: int) -> BatchAnswer:
        """The whole of it, once it has ended."""
        assert self.ended is not None
        rest = "" if self.stopper.cause else self.stopper.feed(self.text.finish()) + self.stopper.finish()
        return BatchAnswer("".join(self.shown) + rest, self.ended, self.tokens, nats, nats_tokens)


class Generator:
    """A transformers model, with or without an adapter, and its vocabulary, answering batches."""

    def __init__(self, model: Any, tokenizer: Tokenizer, vocabulary: Vocabulary | None = None) -> None:
        self._model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary or Vocabulary(tokenizer)

    @torch.inference_mode()
    def answer(self, requests: Sequence[BatchRequest]) -> list[BatchAnswer]:
        """Greedy answers, in order. Padding is paid for, so prompts of like length belong together."""
        batch = _Batch(self._model, [request.prompt.ids for request in requests])
        targets = [self._tokenizer.encode_continuation(one.prompt.heal + one.middle) for one in requests]
        read = self._read(batch, requests, targets)
        rows = [self._row(request) for request in requests]
        _decode(batch, rows)
        return [row.answer(*one) for row, one in zip(rows, read, strict=True)]

    def _read(
        self, batch: _Batch, requests: Sequence[BatchRequest], targets: Sequence[Sequence[int]]
    ) -> list[tuple[float, int]]:
        """(nats, tokens) of every true middle."""
        return [
            (nats(logits, target, self._healing(request)), len(target))
            for logits, target, request in zip(batch.peek(targets), targets, requests, strict=True)
        ]

    def _healing(self, request: BatchRequest) -> Healing:
        return Healing(self._vocabulary, self._tokenizer, request.prompt.heal)

    def _row(self, request: BatchRequest) -> _Row:
        text = Detokenizer(self._tokenizer, len(request.prompt.heal.encode()))
        return _Row(request, self._healing(request), text, Stopper(request.rule))


def _decode(batch: _Batch, rows: Sequence[_Row]) -> None:
    """One token a step for every row that has not ended."""
    live = list(rows)
    while live:
        tokens = _choose(batch.logits, live)
        for row, token in zip(live, tokens, strict=True):
            row.accept(token)
        going = [n for n, row in enumerate(live) if row.ended is None]
        if len(going) < len(live):
            live = [live[n] for n in going]
            batch.keep(going)
        if live:
            batch.extend([tokens[n] for n in going])


def _choose(logits: Tensor, rows: Sequence[_Row]) -> list[int]:
    """The likeliest token of each row, among those that agree with what is there already."""
    for n, row in enumerate(rows):
        if allowed := row.healing.allowed():
            kept = logits[n, allowed].clone()
            logits[n] = -torch.inf
            logits[n, allowed] = kept
    return logits.argmax(-1).tolist()


class _Batch:
    """Sequences that a model reads together, padded on the left, and what it has read of them.

    ``logits`` [rows, vocabulary] are those of each row's next token, in float32.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        self._model = model
        self._cache = DynamicCache()
        self._mask = torch.zeros((len(prompts), 0), dtype=torch.long, device=model.device)
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in prompts], device=model.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in prompts], device=model.device)
        self.logits = self._head(self._forward(ids, mask)[:, -1])

    def extend(self, tokens: Sequence[int]) -> None:
        """Read one more token a row."""
        ids = torch.tensor(tokens, device=self._mask.device)[:, None]
        self.logits = self._head(self._forward(ids, torch.ones_like(ids))[:, -1])

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all other rows; their logits stay until the next token is read."""
        chosen = torch.tensor(rows, dtype=torch.long, device=self._mask.device)
        self._mask = self._mask[chosen]
        self._cache.batch_select_indices(chosen)

    def peek(self, targets: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """The logits [tokens, vocabulary] of the tokens of each row's target, as if it had been generated.

        One row after the other, as they are large; nothing of the targets is kept.
        """
        before, longest = self._mask, max(map(len, targets)) - 1
        hidden = None
        if longest:
            ids = torch.tensor([[*row[:-1], *[0] * (longest + 1 - len(row))] for row in targets], device=before.device)
            lengths = torch.tensor([[len(row) - 1] for row in targets], device=before.device)
            hidden = self._forward(ids, (torch.arange(longest, device=before.device) < lengths).long())
            self._cache.crop(-longest)
            self._mask = before
        for n, target in enumerate(targets):
            rest = [] if hidden is None else [self._head(hidden[n, : len(target) - 1])]
            yield torch.cat([self.logits[n : n + 1], *rest])

    def _forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Hidden states [rows, tokens, width] of tokens that follow what was read."""
        self._mask = torch.cat([self._mask, mask], dim=1)
        positions = (self._mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        return self._model.model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state

    def _head(self, hidden: Tensor) -> Tensor:
        return self._model.lm_head(hidden).float()
