"""Greedy completion of a batch of prompts, with the likelihood of the true middles. For evaluations only.

Nobody waits for a single result of an evaluation, so prompts are batched: the weights are read once for all rows. The
true middles are read after the same prefill, which is the most expensive part, and finished rows leave the batch.
transformers' ``generate`` supports neither. The text equals that of the engine's decode loop, token for token in
float32.
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

Ended = Literal["model", "rule", "length"]
"""Cause of a completion's end: the model's end token, the stop rule, or the length limit."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """One prompt of a batch.

    Attributes:
        prompt: token ids, end tokens and the text to heal.
        rule: the stop rule.
        max_tokens: length limit of the completion, without the tokens that healing takes.
        middle: the true middle, whose likelihood is read; not empty.
    """

    prompt: Prompt
    rule: StopRule
    max_tokens: int
    middle: str

    @property
    def token_limit(self) -> int:
        """The most tokens to generate: each healed byte may take one."""
        return self.max_tokens + len(self.prompt.heal.encode())


@dataclass(frozen=True, slots=True)
class BatchCompletion:
    """The result of one request. Its fields are the rows of an evaluation's journal.

    Attributes:
        text: the completion, without the healed text.
        ended: the cause of its end.
        tokens: generated tokens, including those for healed text, without the end token.
        nats: negative log-likelihood of the true middle, without an end token.
        nats_tokens: tokens of the true middle.
    """

    text: str
    ended: Ended
    tokens: int
    nats: float
    nats_tokens: int


def negative_log_likelihood(logits: Tensor, target: Sequence[int], healing: Healing) -> float:
    """Return the negative log-likelihood of ``target`` in nats.

    ``logits`` [tokens, vocabulary] are those that each token is chosen from. While ``healing`` restricts the choice,
    the likelihood is that among the allowed tokens, as in generation.
    """
    norms = logits.logsumexp(-1)
    for n, token in enumerate(target):
        allowed = healing.allowed()
        if not allowed:
            break
        norms[n] = logits[n, sorted({*allowed, token})].logsumexp(-1)  # a byte may have two tokens: either will do
        healing.accept(token)
    chosen = logits.gather(-1, torch.tensor(target, device=logits.device)[:, None])[:, 0]
    return float((norms - chosen).double().sum())


@dataclass
class _Row:
    """The state of one completion during decoding."""

    request: BatchRequest
    healing: Healing
    text: Detokenizer
    stopper: Stopper
    parts: list[str] = field(default_factory=list)
    tokens: int = 0
    ended: Ended | None = None

    def accept(self, token: int) -> None:
        """Append a generated token; set ``ended`` if it is the last."""
        if token in self.request.prompt.stop_ids:
            self.ended = "model"
            return
        self.tokens += 1
        self.healing.accept(token)
        self.parts.append(self.stopper.feed(self.text.feed(token)))
        if self.stopper.cause:
            self.ended = "rule"
        elif self.tokens >= self.request.token_limit:
            self.ended = "length"

    def completion(self, nats: float, nats_tokens: int) -> BatchCompletion:
        """Return the result of a row that has ended."""
        assert self.ended is not None
        rest = "" if self.stopper.cause else self.stopper.feed(self.text.finish()) + self.stopper.finish()
        return BatchCompletion("".join(self.parts) + rest, self.ended, self.tokens, nats, nats_tokens)


class BatchGenerator:
    """Completes batches with a transformers model, with or without a peft adapter."""

    def __init__(self, model: Any, tokenizer: Tokenizer, vocabulary: Vocabulary | None = None) -> None:
        self._model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary or Vocabulary(tokenizer)

    @torch.inference_mode()
    def complete(self, requests: Sequence[BatchRequest]) -> list[BatchCompletion]:
        """Return greedy completions, in order. Prompts of similar length waste the least padding."""
        batch = _Batch(self._model, [request.prompt.ids for request in requests])
        targets = [self._tokenizer.encode_continuation(one.prompt.heal + one.middle) for one in requests]
        likelihoods = self._likelihoods(batch, requests, targets)
        rows = [self._row(request) for request in requests]
        _decode(batch, rows)
        return [row.completion(*one) for row, one in zip(rows, likelihoods, strict=True)]

    def _likelihoods(
        self, batch: _Batch, requests: Sequence[BatchRequest], targets: Sequence[Sequence[int]]
    ) -> list[tuple[float, int]]:
        """Return (nats, tokens) of every true middle."""
        return [
            (negative_log_likelihood(logits, target, self._healing(request)), len(target))
            for logits, target, request in zip(batch.peek(targets), targets, requests, strict=True)
        ]

    def _healing(self, request: BatchRequest) -> Healing:
        return Healing(self._vocabulary, self._tokenizer, request.prompt.heal)

    def _row(self, request: BatchRequest) -> _Row:
        text = Detokenizer(self._tokenizer, len(request.prompt.heal.encode()))
        return _Row(request, self._healing(request), text, Stopper(request.rule))


def _decode(batch: _Batch, rows: Sequence[_Row]) -> None:
    """Generate one token per step for every row that has not ended."""
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
    """Return the most likely token of each row, among those that agree with the text to heal."""
    for n, row in enumerate(rows):
        if allowed := row.healing.allowed():
            kept = logits[n, allowed].clone()
            logits[n] = -torch.inf
            logits[n, allowed] = kept
    return logits.argmax(-1).tolist()


class _Batch:
    """Left-padded sequences and their KV cache.

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
        """Append one token to each row and compute the next logits."""
        ids = torch.tensor(tokens, device=self._mask.device)[:, None]
        self.logits = self._head(self._forward(ids, torch.ones_like(ids))[:, -1])

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all other rows from the cache. ``logits`` changes with the next ``extend``."""
        chosen = torch.tensor(rows, dtype=torch.long, device=self._mask.device)
        self._mask = self._mask[chosen]
        self._cache.batch_select_indices(chosen)

    def peek(self, targets: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """Yield the logits [tokens, vocabulary] that each row's target is scored by, one row at a time: they are large.

        The targets leave no trace in the cache.
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
        """Return the hidden states [rows, tokens, width] of tokens that follow those in the cache."""
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
