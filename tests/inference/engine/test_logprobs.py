"""Token probabilities: the model's own, with drafts or without, and only on request."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes.byte_llama import ByteTokenizer, tiny_reference

from inference.api.events import Sampling, TextChunk, TokenProbability
from inference.engine.engine import Engine
from inference.models.catalog import STARTER
from inference.models.llama import Llama

PROMPT = list(b"def f(a, b):\n    return a + ")


@pytest.fixture(scope="module")
def reference():
    return tiny_reference()


def tokens(reference, sampling: Sampling, *, drafts: bool = False) -> list[TokenProbability]:
    engine = Engine(Llama(reference), ByteTokenizer(), replace(STARTER, infill=False), drafts=drafts)
    events = [event for event in engine.complete(PROMPT, sampling=sampling) if isinstance(event, TextChunk)]
    return [token for event in events for token in event.tokens]


def test_logprobs_equal_transformers(reference):
    """Teacher-forced over the completion; the likeliest token is the greedy choice."""
    found = tokens(reference, Sampling(max_tokens=8, logprobs=3))
    ids = [*PROMPT]
    for token in found:
        with torch.inference_mode():
            chances = torch.log_softmax(reference(torch.tensor([ids])).logits[0, -1].float(), -1)
        best = chances.topk(3)
        assert token.logprob == pytest.approx(float(best.values[0]), abs=1e-4)
        assert [chance for _, chance in token.top] == pytest.approx(best.values.tolist(), abs=1e-4)
        assert token.top[0] == (token.piece, token.logprob)
        ids.append(int(best.indices[0]))
    assert found


def test_drafts_change_no_logprob(reference):
    sampling = Sampling(max_tokens=24, logprobs=0)
    plain, drafted = tokens(reference, sampling), tokens(reference, sampling, drafts=True)
    assert [token.piece for token in plain] == [token.piece for token in drafted]
    assert [t.logprob for t in plain] == pytest.approx([t.logprob for t in drafted], abs=1e-4)
    assert {token.top for token in plain} == {()}


def test_logprobs_ignore_temperature(reference):
    """As in OpenAI's API, they describe the model, not the sampler."""
    warm = tokens(reference, Sampling(max_tokens=1, temperature=2.0, seed=1, logprobs=20))
    cold = tokens(reference, Sampling(max_tokens=1, logprobs=20))
    assert [token.top for token in warm] == [token.top for token in cold]
    assert len(warm) == 1
    assert tokens(reference, Sampling(max_tokens=4)) == []
