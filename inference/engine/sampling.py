"""Token healing: the first tokens of an answer must agree with bytes that are already there.

A prompt that is cut in the middle of what the vocabulary would have joined asks for a token sequence the model never
saw. So the cut-off bytes are held out of the prompt and the first tokens are chosen among those that begin with them.
Knows no model: bytes in, allowed ids out. Named after Guidance's "token healing"; see also Code Llama, appendix E.

Choosing the next token from its logits. Knows nothing of texts or requests.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from inference.api.events import TokenProbability
from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import Vocabulary


class Healing:
    """What is still owed of one answer's first bytes."""

    def __init__(self, vocabulary: Vocabulary, tokenizer: Tokenizer, text: str) -> None:
        self._vocabulary = vocabulary
        self._piece_bytes = tokenizer.piece_bytes
        self._owed = text.encode()

    def allowed(self) -> list[int] | None:
        """Ids that may come next, or None where any may."""
        return self._vocabulary.agreeing(self._owed) if self._owed else None

    def accept(self, token: int) -> None:
        """``token`` was chosen."""
        self._owed = self._owed[len(self._piece_bytes(token)) :]


COLDEST = 1e-5
"""Temperatures below are greedy, as in vLLM: logits divided by less overflow float32."""

Sampler = Callable[[Tensor], int]
"""From logits ``[vocab]`` (or of the allowed ids only) to an index into them."""


def make_sampler(temperature: float = 0.0, top_p: float = 1.0, seed: int | None = None) -> Sampler:
    """Greedy at a temperature (almost) 0, else nucleus sampling (Holtzman et al. 2019, arXiv 1904.09751).

    With a ``seed`` the choices repeat on the same machine.
    """
    if temperature < COLDEST:
        return lambda logits: int(logits.argmax())
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return lambda logits: _draw(logits, temperature, top_p, generator)


def unending(sampler: Sampler, ends: Collection[int], tokens: int, vocabulary: int) -> Sampler:
    """``sampler``, but its first ``tokens`` choices are none of ``ends``.

    Logits of fewer ids than the ``vocabulary`` has are of those that healing allows: no end agrees with any byte.
    """
    barred, left = torch.tensor(sorted(ends)), tokens

    def choose(logits: Tensor) -> int:
        nonlocal left
        if left > 0 and len(logits) == vocabulary:
            logits = logits.index_fill(0, barred.to(logits.device), -torch.inf)
        left -= 1
        return sampler(logits)

    return choose


def reciting(sampler: Sampler, ids: Sequence[int]) -> Sampler:
    """``sampler``, but its first choices are ``ids``. It chooses all the same, so that this takes as long."""
    known = iter(ids)

    def choose(logits: Tensor) -> int:
        chosen = sampler(logits)
        return next(known, chosen)

    return choose


def recorded(
    sampler: Sampler, top: int, piece: Callable[[int], bytes], tell: Callable[[TokenProbability], object]
) -> Sampler:
    """``sampler``, telling each choice's probability, and the ``top`` likeliest, before temperature and top-p."""

    def choose(logits: Tensor) -> int:
        token = sampler(logits)
        chances = torch.log_softmax(logits.float(), dim=-1)
        values, ids = chances.topk(min(top, len(chances)))
        likeliest = zip(ids.tolist(), values.tolist(), strict=True)
        tell(TokenProbability(piece(token), float(chances[token]), tuple((piece(i), value) for i, value in likeliest)))
        return token

    return choose


def _draw(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> int:
    probabilities, order = torch.softmax(logits.float().cpu() / temperature, dim=-1).sort(descending=True)
    before = probabilities.cumsum(0) - probabilities
    probabilities[before >= max(top_p, 0.0)] = 0.0  # the likeliest token has nothing before it ...
    probabilities[0] = max(float(probabilities[0]), torch.finfo(torch.float32).tiny)  # ... and stays even at top_p 0
    return int(order[torch.multinomial(probabilities, 1, generator=generator)])
