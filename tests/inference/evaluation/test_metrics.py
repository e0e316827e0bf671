"""Scores of hand-made answers, computed by hand."""

from __future__ import annotations

import pytest

from inference.evaluation.intervals import mean_difference, share_gained
from inference.evaluation.scoring import exact, first_line, similarity


@pytest.mark.parametrize(
    ("answer", "middle", "same"),
    [("a + b", "a + b", True), ("a + b \n\n", "a + b", True), (" a + b", "a + b", False), ("a+b", "a + b", False)],
)
def test_exact_match_overlooks_white_space_at_the_end_alone(answer, middle, same):
    assert exact(answer, middle) is same


@pytest.mark.parametrize(
    ("answer", "middle", "share"),
    [("kitten", "sitting", 4 / 7), ("abc", "abc\n", 1.0), ("", "abcd", 0.0), ("abcd", "ab", 0.5), ("", "", 1.0)],
)
def test_edit_similarity_is_one_less_edits_by_the_longer_length(answer, middle, share):
    """kitten to sitting takes three edits (Levenshtein 1966's measure, the textbook's example)."""
    assert similarity(answer, middle) == pytest.approx(share)


@pytest.mark.parametrize(
    ("answer", "middle", "same"),
    [("if x:\n    y", "if x:\n    z", True), ("if x: \n", "if x:", True), ("\nif x:", "if x:", False)],
)
def test_first_line_alone_is_compared(answer, middle, same):
    assert first_line(answer, middle) is same


def test_difference_that_is_everywhere_the_same_has_no_width():
    found = mean_difference([1.0, 1.5, 3.0], [0.5, 1.0, 2.5])
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_interval_of_a_difference_is_that_of_the_binomial():
    """100 pairs, of which 20 differ by 1: mean 0.2, and 1.96 standard errors of 0.04 on both sides."""
    found = mean_difference([1.0] * 20 + [0.0] * 80, [0.0] * 100)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.2 - 0.0784, abs=0.011), pytest.approx(0.2 + 0.0784, abs=0.011))


def test_same_numbers_give_the_same_interval():
    first, second = [0.1, 0.9, 0.4, 0.7], [0.3, 0.2, 0.4, 0.1]
    assert mean_difference(first, second) == mean_difference(first, second)


def test_share_gained_is_of_sums():
    """(10 + 30 - 5 - 25) / 40; the mean of the two shares would be a third."""
    assert share_gained([10.0, 30.0], [5.0, 25.0]).value == pytest.approx(0.25)


@pytest.mark.parametrize("pair", [([], []), ([1.0], [1.0, 2.0])])
def test_what_is_not_paired_is_not_compared(pair):
    with pytest.raises(ValueError, match="needs pairs"):
        mean_difference(*pair)
