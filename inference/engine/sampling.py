"""Choose the next token from its logits: greedy or nucleus sampling, and constraints wrapped around them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from inference.api.events import TokenProbability
from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import Vocabulary

MIN_TEMPERATURE = 1e-5
"""Lower temperatures are greedy, as in vLLM: dividing logits by less overflows float32."""

Sampler = Callable[[Tensor], int]
"""Maps logits, float32 ``[vocab]`` (under token healing those of the allowed ids), to an index into them."""


def make_sampler(temperature: float = 0.0, top_p: float = 1.0, seed: int | None = None) -> Sampler:
    """Return a greedy sampler for a temperature near 0, else a nucleus sampler.

    A ``seed`` makes the samples reproducible on one machine.

    Source: Holtzman et al. 2019 (arXiv 1904.09751), section 3.1.
    """
    if temperature < MIN_TEMPERATURE:
        return lambda logits: int(logits.argmax())
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return lambda logits: _draw(logits, temperature, top_p, generator)


def with_min_tokens(sampler: Sampler, end_ids: Collection[int], tokens: int) -> Sampler:
    """Wrap ``sampler`` so that none of its first ``tokens`` choices is in ``end_ids``."""
    barred, left = torch.tensor(sorted(end_ids)), tokens

    def choose(logits: Tensor) -> int:
        nonlocal left
        if left > 0:
            logits = logits.index_fill(0, barred.to(logits.device), -torch.inf)
        left -= 1
        return sampler(logits)

    return choose


def with_forced_ids(sampler: Sampler, ids: Sequence[int]) -> Sampler:
    """Wrap ``sampler`` so that its first choices are ``ids``. It still samples, so that timings stay comparable."""
    forced = iter(ids)

    def choose(logits: Tensor) -> int:
        sampled = sampler(logits)
        return next(forced, sampled)

    return choose


class Healing:
    """Token healing: constrain the first tokens of a completion to bytes that are already in the document.

    A prompt that ends in the middle of a token is a token sequence that the model never saw in training. So the bytes
    of the cut token are held out of the prompt, and the first tokens are chosen among those that agree with them.

    Source: Guidance's "token healing"; Code Llama (arXiv 2308.12950), appendix E.
    """

    def __init__(self, vocabulary: Vocabulary, tokenizer: Tokenizer, text: str) -> None:
        self._vocabulary = vocabulary
        self._piece_bytes = tokenizer.piece_bytes
        self._pending = text.encode()

    def allowed(self) -> list[int] | None:
        """Return the ids that may come next, or None for any."""
        return self._vocabulary.agreeing(self._pending) if self._pending else None

    def accept(self, token: int) -> None:
        """Consume the bytes of ``token``."""
        self._pending = self._pending[len(self._piece_bytes(token)) :]


def with_healing(sampler: Sampler, healing: Healing) -> Sampler:
    """Wrap ``sampler`` so that it chooses only among the tokens that ``healing`` allows.

    It must be called exactly once per token, in the order of the completion.
    """

    def choose(logits: Tensor) -> int:
        allowed = healing.allowed()
        if not allowed:
            return sampler(logits)
        token = allowed[sampler(logits[allowed])]
        healing.accept(token)
        return token

    return choose


def token_probability(logits: Tensor, token: int, top: int, piece_bytes: Callable[[int], bytes]) -> TokenProbability:
    """Return the log-probabilities of ``token`` and of the ``top`` likeliest tokens.

    They are the model's own, before temperature and top-p, as in OpenAI's API. ``logits`` is ``[vocab]``.
    """
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    values, ids = logprobs.topk(min(top, len(logprobs)))
    likeliest = zip(ids.tolist(), values.tolist(), strict=True)
    return TokenProbability(
        piece_bytes(token), float(logprobs[token]), tuple((piece_bytes(i), value) for i, value in likeliest)
    )


def _draw(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> int:
    probabilities, order = torch.softmax(logits.float().cpu() / temperature, dim=-1).sort(descending=True)
    before = probabilities.cumsum(0) - probabilities
    probabilities[before >= max(top_p, 0.0)] = 0.0  # never removes the likeliest: nothing comes before it ...
    probabilities[0] = max(float(probabilities[0]), torch.finfo(torch.float32).tiny)  # ... unless top_p is 0
    return int(order[torch.multinomial(probabilities, 1, generator=generator)])
