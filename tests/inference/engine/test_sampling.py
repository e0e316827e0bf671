"""Greedy and nucleus sampling, and seeds."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from inference.engine.sampling import make_sampler

LOGITS = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))


def counts(**settings) -> Counter[int]:
    sample = make_sampler(**settings)
    return Counter(sample(LOGITS) for _ in range(2000))


def test_temperature_zero_is_greedy():
    assert counts(temperature=0) == {0: 2000}


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    """0.5 + 0.3 reaches 0.75, so the third is never drawn."""
    assert set(counts(temperature=1.0, top_p=0.75, seed=1)) == {0, 1}


def test_top_p_of_zero_samples_the_likeliest():
    assert counts(temperature=1.0, top_p=0.0, seed=1) == {0: 2000}


def test_frequencies_match_the_probabilities():
    drawn = counts(temperature=1.0, seed=3)
    for index, probability in enumerate((0.5, 0.3, 0.15, 0.05)):
        assert abs(drawn[index] / 2000 - probability) < 0.04


def test_low_temperature_sharpens():
    assert counts(temperature=0.3, seed=3)[0] > counts(temperature=1.0, seed=3)[0] * 1.4


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-39, 1e-6])
def test_tiny_temperature_is_greedy(temperature):
    """Dividing logits by it would overflow and give NaN probabilities."""
    assert make_sampler(temperature)(torch.tensor([1.0, 30.0, 2.0])) == 1
