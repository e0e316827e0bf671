"""How long is waited, to the millisecond, for which person, key and machine."""

from __future__ import annotations

import pytest

from lsp_server.completion.debounce import TypingRate, debounce


def rhythm(gap: float | None = None, latency: float | None = None) -> TypingRate:
    known = TypingRate()
    for n in range(5 if gap else 0):
        known.record_key(1000 + n * (gap or 0))
    if latency:
        known.record_latency(latency)
    return known


@pytest.mark.parametrize(
    ("left", "wait"),
    [("x", 150), ("x_", 150), ("x = ", 100), ("x,", 100), ("foo(", 50), ("foo.", 50), ("if x:", 50), ("    ", 50)],
)
def test_less_is_waited_where_people_pause(left, wait):
    assert debounce(left, rhythm(gap=100), 1000) == wait


def test_a_slow_typist_is_given_more_time_and_a_rest_is_no_rhythm():
    known = rhythm(gap=200)
    known.record_key(60_000)
    assert known.interval_ms == 200
    assert debounce("x", known, 1000) == 300


def test_what_the_editor_adds_to_a_key_is_no_key():
    """A closing bracket, or the same text at several cursors, comes at once."""
    known = rhythm(gap=200)
    for n in range(21):
        known.record_key(10_000 + 5 * n)
    assert known.interval_ms == 200


def test_a_quick_model_is_asked_sooner():
    """Asking in vain costs no more than its answer takes."""
    assert debounce("x", rhythm(gap=200, latency=40), 1000) == 40


def test_latency_is_the_median_so_that_one_slow_answer_changes_nothing():
    known = rhythm(latency=40)
    known.record_latency(50)
    known.record_latency(5000)
    assert known.latency_ms == 50


@pytest.mark.parametrize(("longest", "wait"), [(150, 150), (0, 0)])
def test_never_longer_than_is_set(longest, wait):
    assert debounce("x", rhythm(gap=300, latency=900), longest) == wait


def test_nothing_known_is_a_usual_person():
    assert (debounce("x", TypingRate(), 1000), debounce("x.", TypingRate(), 1000)) == (270, 90)


def test_old_habits_are_forgotten():
    known = rhythm(gap=300)
    for n in range(21):
        known.record_key(10_000 + 100 * n)
    assert known.interval_ms == 100
