"""Draft lengths adapt to acceptance rates and step times."""

from __future__ import annotations

import pytest

from inference.engine.draft_length import FIRST_PAUSE, LONGEST_DRAFT, DraftLength, StepCosts


def timed(ratio: float, one: float = 0.01) -> StepCosts:
    """Return the costs of a machine on which each further token takes ``ratio`` of a step, after many samples."""
    costs = StepCosts()
    costs.learn(1, one)
    for _ in range(200):
        for tokens in (2, 4, 8, 16):
            costs.learn(tokens, one * (1 + ratio * (tokens - 1)))
    return costs


def test_no_draft_before_the_first_timed_step():
    assert DraftLength(1.0).choose(16, 15) == 0


def test_draft_is_at_most_what_is_available():
    assert DraftLength(1.0, timed(0.0)).choose(16, 3) == 3
    assert DraftLength(1.0, timed(0.0)).choose(16, 0) == 0


def test_acceptance_lengthens_drafts_and_rejection_shortens_them():
    length = DraftLength(1.0, timed(0.2))
    begun = length.choose(2, LONGEST_DRAFT)
    for _ in range(10):
        length.learn(2, 4, 4)
    grown = length.choose(2, LONGEST_DRAFT)
    for _ in range(3):
        length.learn(2, 4, 1)
    assert 0 < begun < length.choose(2, LONGEST_DRAFT) < grown == LONGEST_DRAFT


def test_expensive_tokens_shorten_drafts():
    chosen = [DraftLength(1.0, timed(ratio)).choose(4, LONGEST_DRAFT) for ratio in (0.01, 0.1, 0.3, 1.0)]
    assert chosen == sorted(chosen, reverse=True)
    assert chosen[0] == LONGEST_DRAFT
    assert chosen[-1] == 0


def test_match_lengths_have_separate_statistics():
    """Rejections after two matching tokens say nothing about drafts after sixteen."""
    length = DraftLength(1.0, timed(0.2))
    for _ in range(30):
        length.learn(2, 2, 0)
    assert length.choose(2, 8) == 0
    assert length.choose(16, 8) > 4


def test_rejected_drafts_are_retried_at_growing_intervals():
    length = DraftLength(1.0, timed(0.2))
    for _ in range(30):
        length.learn(2, 2, 0)
    tried = []
    for n in range(1, 16 * FIRST_PAUSE):
        if drafted := length.choose(2, 8):
            tried.append((n, drafted))
            length.learn(2, drafted, 0)
    assert tried == [(16, 1), (48, 1), (112, 1), (240, 1)]


def test_successful_trial_ends_the_pause():
    length = DraftLength(1.0, timed(0.2))
    for _ in range(30):
        length.learn(2, 2, 0)
    while not length.choose(2, 8):
        pass
    length.learn(2, 1, 1)
    assert length.choose(2, 8) > 0


@pytest.mark.parametrize(("limit", "longest"), [(1.0, 15), (0.15, 8), (0.01, 4)])
def test_step_time_is_limited_to_the_longer_of_two_bounds(limit, longest):
    """An urgent request waits for at most one step: the limit, or two one-token steps."""
    length = DraftLength(limit + 1e-9, timed(0.25, one=0.05))
    for _ in range(10):
        length.learn(16, 15, 15)
    assert length.choose(16, LONGEST_DRAFT) == longest


def test_costs_are_interpolated():
    costs = timed(0.5)
    assert [round(costs.ratio(n), 2) for n in (1, 2, 3, 6, 8, 12, 16)] == [1, 1.5, 2, 3.5, 4.5, 6.5, 8.5]


def test_fast_samples_count_more_than_slow_ones():
    """Other processes may have caused a slow sample."""
    costs = timed(0.5)
    costs.learn(2, 1.0)
    assert costs.ratio(2) < 1.7
    costs.learn(2, 0.011)
    assert costs.ratio(2) < 1.4


def test_old_high_costs_decay():
    costs = timed(5.0)
    for _ in range(1000):
        costs.learn(1, 0.01)
    assert costs.ratio(16) == pytest.approx(StepCosts().ratio(16), rel=0.01)
