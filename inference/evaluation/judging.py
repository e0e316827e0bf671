"""How likely a model held a text to be, from the logits it gave while reading it.

Where a prompt is healed, the first tokens are judged among those that agree with what is there already, exactly as they
are when an answer is generated. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.generation.healing import Healing


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
