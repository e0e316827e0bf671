"""Scores and intervals of hand-made completions, against values computed by hand."""

from __future__ import annotations

import pytest

from inference.evaluation.intervals import mean_difference, share_gained
from inference.evaluation.scoring import exact, first_line, similarity


@pytest.mark.parametrize(
    ("completion", "middle", "same"),
    [("a + b", "a + b", True), ("a + b \n\n", "a + b", True), (" a + b", "a + b", False), ("a+b", "a + b", False)],
)
def test_exact_match_ignores_only_trailing_white_space(completion, middle, same):
    assert exact(completion, middle) is same


@pytest.mark.parametrize(
    ("completion", "middle", "share"),
    [("kitten", "sitting", 4 / 7), ("abc", "abc\n", 1.0), ("", "abcd", 0.0), ("abcd", "ab", 0.5), ("", "", 1.0)],
)
def test_similarity_is_one_minus_edits_by_longer_length(completion, middle, share):
    """From kitten to sitting are three edits (Levenshtein 1966; the textbook example)."""
    assert similarity(completion, middle) == pytest.approx(share)


@pytest.mark.parametrize(
    ("completion", "middle", "same"),
    [("if x:\n    y", "if x:\n    z", True), ("if x: \n", "if x:", True), ("\nif x:", "if x:", False)],
)
def test_first_line_score_ignores_other_lines(completion, middle, same):
    assert first_line(completion, middle) is same


def test_constant_difference_has_an_interval_of_zero_width():
    interval = mean_difference([1.0, 1.5, 3.0], [0.5, 1.0, 2.5])
    assert (interval.value, interval.low, interval.high) == (0.5, 0.5, 0.5)


def test_interval_of_binary_differences_is_binomial():
    """100 pairs, of which 20 differ by 1: mean 0.2, with 1.96 standard errors of 0.04 on both sides."""
    interval = mean_difference([1.0] * 20 + [0.0] * 80, [0.0] * 100)
    assert interval.value == pytest.approx(0.2)
    assert (interval.low, interval.high) == (
        pytest.approx(0.2 - 0.0784, abs=0.011),
        pytest.approx(0.2 + 0.0784, abs=0.011),
    )


def test_intervals_are_reproducible():
    first, second = [0.1, 0.9, 0.4, 0.7], [0.3, 0.2, 0.4, 0.1]
    assert mean_difference(first, second) == mean_difference(first, second)


def test_share_gained_is_computed_from_sums():
    """(10 + 30 - 5 - 25) / 40; the mean of the two shares would be a third."""
    assert share_gained([10.0, 30.0], [5.0, 25.0]).value == pytest.approx(0.25)


@pytest.mark.parametrize("pair", [([], []), ([1.0], [1.0, 2.0])])
def test_unpaired_values_are_rejected(pair):
    with pytest.raises(ValueError, match="needs pairs"):
        mean_difference(*pair)
