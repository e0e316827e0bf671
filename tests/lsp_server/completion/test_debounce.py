"""Debounce delays in milliseconds, by typing rate, keystroke and latency."""

from __future__ import annotations

import pytest

from lsp_server.completion.debounce import TypingRate, debounce


def typing_rate(gap: float | None = None, latency: float | None = None) -> TypingRate:
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
def test_delay_is_shorter_where_users_pause(left, wait):
    assert debounce(left, typing_rate(gap=100), 1000) == wait


def test_delay_grows_with_the_interval_without_pauses():
    known = typing_rate(gap=200)
    known.record_key(60_000)
    assert known.interval_ms == 200
    assert debounce("x", known, 1000) == 300


def test_simultaneous_changes_are_one_keystroke():
    """A closing bracket, or the same text at several cursors, arrives immediately."""
    known = typing_rate(gap=200)
    for n in range(21):
        known.record_key(10_000 + 5 * n)
    assert known.interval_ms == 200


def test_delay_is_at_most_the_latency():
    """A wasted generation costs no more than the latency."""
    assert debounce("x", typing_rate(gap=200, latency=40), 1000) == 40


def test_latency_is_the_median():
    known = typing_rate(latency=40)
    known.record_latency(50)
    known.record_latency(5000)
    assert known.latency_ms == 50


@pytest.mark.parametrize(("longest", "wait"), [(150, 150), (0, 0)])
def test_delay_is_at_most_the_setting(longest, wait):
    assert debounce("x", typing_rate(gap=300, latency=900), longest) == wait


def test_defaults_apply_without_samples():
    assert (debounce("x", TypingRate(), 1000), debounce("x.", TypingRate(), 1000)) == (270, 90)


def test_old_samples_are_dropped():
    known = typing_rate(gap=300)
    for n in range(21):
        known.record_key(10_000 + 100 * n)
    assert known.interval_ms == 100
