"""How likely a model finds the tokens of an example: the loss of training, and the score of held-out code.

Knows no holes and no prompts: ids in, nats out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from inference.learning.adapter import in_bfloat16
from inference.learning.examples import Example


def token_losses(model: Any, examples: Sequence[Example]) -> list[torch.Tensor]:
    """Negative log-likelihood, in nats, of every token to be learnt: one float32 tensor an example.

    Sequences are padded on their right, where a causal model's earlier positions can't see it: attention needs no mask.
    The head is computed for the positions that count alone.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    device = base.get_input_embeddings().weight.device
    longest = max(len(example.ids) for example in examples)
    ids = torch.tensor([example.ids + [0] * (longest - len(example.ids)) for example in examples], device=device)
    with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16(base)):
        hidden = base.model(input_ids=ids, use_cache=False).last_hidden_state
    counts = [len(example.learnt) for example in examples]
    rows = torch.repeat_interleave(torch.arange(len(examples)), torch.tensor(counts)).to(device)
    places = torch.tensor([place for example in examples for place in example.learnt], device=device)
    logits = base.lm_head(hidden[rows, places - 1])
    losses = cross_entropy(logits.float(), ids[rows, places], reduction="none")
    return list(losses.split(counts))


@torch.inference_mode()
def middle_losses(model: Any, examples: Sequence[Example], batch: int = 16) -> list[tuple[float, int]]:
    """(nats, tokens) of what each example is to learn, in their order."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].ids))
    scored: dict[int, tuple[float, int]] = {}
    for first in range(0, len(order), batch):
        some = order[first : first + batch]
        for i, losses in zip(some, token_losses(model, [examples[i] for i in some]), strict=True):
            scored[i] = float(losses.sum()), len(losses)
    return [scored[i] for i in range(len(examples))]
