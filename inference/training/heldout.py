"""Token losses of examples, and the perplexity of held-out files before and after training.

Files are held out whole: lines of one file are too similar to train on some and test on the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from inference.evaluation.intervals import difference_per_unit
from inference.text.holes import HoleKind, sample_holes
from inference.text.infill import Layout
from inference.text.source_files import SourceFile
from inference.text.tokenizer import Tokenizer
from inference.training.examples import Example, cut_window, make_example
from inference.training.peft_adapter import in_bfloat16

HELD_OUT_SHARE = 0.1
KINDS: tuple[HoleKind, ...] = ("end", "line", "block")
LAYOUTS: tuple[Layout, ...] = ("spm", "psm")
BEFORE, AFTER = 112, 48
"""Tokens of prefix and suffix around a held-out hole."""

Scores = list[tuple[float, int]]
"""(nats, tokens) of each example."""


def token_losses(model: Any, examples: Sequence[Example]) -> list[torch.Tensor]:
    """Return the negative log-likelihood in nats of every token to be learnt: one float32 tensor per example.

    Sequences are padded on the right, which earlier positions of a causal model can't see, so no attention mask is
    needed. The head is computed only for the positions that count.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    device = base.get_input_embeddings().weight.device
    longest = max(len(example.ids) for example in examples)
    ids = torch.tensor([example.ids + [0] * (longest - len(example.ids)) for example in examples], device=device)
    with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16(base)):
        hidden = base.model(input_ids=ids, use_cache=False).last_hidden_state
    counts = [len(example.learnt) for example in examples]
    rows = torch.repeat_interleave(torch.arange(len(examples)), torch.tensor(counts)).to(device)
    columns = torch.tensor([index for example in examples for index in example.learnt], device=device)
    logits = base.lm_head(hidden[rows, columns - 1])
    losses = cross_entropy(logits.float(), ids[rows, columns], reduction="none")
    return list(losses.split(counts))


@torch.inference_mode()
def middle_losses(model: Any, examples: Sequence[Example], batch: int = 16) -> list[tuple[float, int]]:
    """Return (nats, tokens) of the tokens to be learnt, for each example in order."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].ids))
    scored: dict[int, tuple[float, int]] = {}
    for first in range(0, len(order), batch):
        some = order[first : first + batch]
        for i, losses in zip(some, token_losses(model, [examples[i] for i in some]), strict=True):
            scored[i] = float(losses.sum()), len(losses)
    return [scored[i] for i in range(len(examples))]


def split(files: Sequence[SourceFile]) -> tuple[list[SourceFile], list[SourceFile]]:
    """Split files into (training, held out). A tenth, at least one file, is held out.

    Only the name decides, so a file keeps its role when others are added or removed. Raises ValueError for fewer than
    two files.
    """
    if len(files) < 2:
        raise ValueError("At least two files of code are needed: one to train on and one to hold out.")
    ranked = sorted(files, key=lambda file: hashlib.sha256(file.name.encode()).digest())
    count = max(1, round(len(files) * HELD_OUT_SHARE))
    held = ranked[:count]
    return [file for file in files if file not in held], held


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Examples of holes in held-out files, by kind and layout."""

    examples: dict[tuple[HoleKind, Layout], list[Example]]

    def score(self, model: Any) -> dict[str, Scores]:
        """Return the scores by ``kind/layout``."""
        model.eval()
        return {f"{kind}/{layout}": middle_losses(model, some) for (kind, layout), some in self.examples.items()}


def hold_out(files: Sequence[SourceFile], tokenizer: Tokenizer, count: int, seed: int) -> HeldOut:
    """Make examples of up to ``count`` holes of each kind, each in both layouts."""
    examples = {}
    for kind in KINDS:
        holes = [cut_window(tokenizer, hole, BEFORE, AFTER) for hole in sample_holes(files, kind, count, seed)]
        for layout in LAYOUTS if holes else ():
            examples[kind, layout] = [make_example(tokenizer, hole, layout) for hole in holes]
    return HeldOut(examples)


@dataclass(frozen=True, slots=True)
class Gain:
    """Perplexity per token before and after, and the 95 % interval of their ratio (after / before)."""

    before: float
    after: float
    low: float
    high: float
    holes: int


def gain(before: Scores, after: Scores) -> Gain:
    """Compare scores of the same holes, which the interval's bootstrap resamples."""
    was, now, tokens = [nats for nats, _ in before], [nats for nats, _ in after], [count for _, count in before]
    change = difference_per_unit(now, was, tokens)
    perplexity = exp(sum(was) / sum(tokens)), exp(sum(now) / sum(tokens))
    return Gain(*perplexity, exp(change.low), exp(change.high), len(tokens))
