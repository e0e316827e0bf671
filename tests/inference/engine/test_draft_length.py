"""How long a draft may be: by what was accepted, and by what steps took."""

from __future__ import annotations

import pytest

from inference.engine.draft_length import FIRST_PAUSE, LONGEST_DRAFT, DraftLength, StepCosts


def timed(ratio: float, one: float = 0.01) -> StepCosts:
    """A machine on which each token more costs ``ratio`` of a step, and that has been watched for long."""
    costs = StepCosts()
    costs.learn(1, one)
    for _ in range(200):
        for tokens in (2, 4, 8, 16):
            costs.learn(tokens, one * (1 + ratio * (tokens - 1)))
    return costs


def test_nothing_is_drafted_before_a_step_was_timed():
    assert DraftLength(1.0).choose(16, 15) == 0


def test_never_more_than_there_is():
    assert DraftLength(1.0, timed(0.0)).choose(16, 3) == 3
    assert DraftLength(1.0, timed(0.0)).choose(16, 0) == 0


def test_what_is_accepted_makes_drafts_longer_and_what_is_not_shorter():
    length = DraftLength(1.0, timed(0.2))
    begun = length.choose(2, LONGEST_DRAFT)
    for _ in range(10):
        length.learn(2, 4, 4)
    grown = length.choose(2, LONGEST_DRAFT)
    for _ in range(3):
        length.learn(2, 4, 1)
    assert 0 < begun < length.choose(2, LONGEST_DRAFT) < grown == LONGEST_DRAFT


def test_the_dearer_a_token_the_shorter_the_draft():
    chosen = [DraftLength(1.0, timed(ratio)).choose(4, LONGEST_DRAFT) for ratio in (0.01, 0.1, 0.3, 1.0)]
    assert chosen == sorted(chosen, reverse=True)
    assert chosen[0] == LONGEST_DRAFT
    assert chosen[-1] == 0


def test_long_matches_are_judged_by_themselves():
    """That pairs of tokens lead nowhere says nothing of sixteen that agree."""
    length = DraftLength(1.0, timed(0.2))
    for _ in range(30):
        length.learn(2, 2, 0)
    assert length.choose(2, 8) == 0
    assert length.choose(16, 8) > 4


def test_hopeless_drafts_are_tried_again_less_and_less():
    length = DraftLength(1.0, timed(0.2))
    for _ in range(30):
        length.learn(2, 2, 0)
    tried = []
    for n in range(1, 16 * FIRST_PAUSE):
        if drafted := length.choose(2, 8):
            tried.append((n, drafted))
            length.learn(2, drafted, 0)
    assert tried == [(16, 1), (48, 1), (112, 1), (240, 1)]


def test_a_trial_that_succeeds_ends_the_pause():
    length = DraftLength(1.0, timed(0.2))
    for _ in range(30):
        length.learn(2, 2, 0)
    while not length.choose(2, 8):
        pass
    length.learn(2, 1, 1)
    assert length.choose(2, 8) > 0


@pytest.mark.parametrize(("limit", "longest"), [(1.0, 15), (0.15, 8), (0.01, 4)])
def test_no_step_takes_longer_than_the_limit_unless_two_plain_ones_do(limit, longest):
    """A request in a hurry waits for at most one."""
    length = DraftLength(limit + 1e-9, timed(0.25, one=0.05))
    for _ in range(10):
        length.learn(16, 15, 15)
    assert length.choose(16, LONGEST_DRAFT) == longest


def test_costs_between_those_measured_are_in_between():
    costs = timed(0.5)
    assert [round(costs.ratio(n), 2) for n in (1, 2, 3, 6, 8, 12, 16)] == [1, 1.5, 2, 3.5, 4.5, 6.5, 8.5]


def test_one_slow_step_changes_little_and_a_fast_one_is_believed():
    """Others may have had the machine."""
    costs = timed(0.5)
    costs.learn(2, 1.0)
    assert costs.ratio(2) < 1.7
    costs.learn(2, 0.011)
    assert costs.ratio(2) < 1.4


def test_what_was_too_dear_once_is_forgotten():
    costs = timed(5.0)
    for _ in range(1000):
        costs.learn(1, 0.01)
    assert costs.ratio(16) == pytest.approx(StepCosts().ratio(16), rel=0.01)
