"""Exponential backoff between restarts of an engine that keeps dying."""

from __future__ import annotations

from lsp_server.concurrency import CALM, BackOff


def test_pauses_double_up_to_the_longest():
    backoff = BackOff(lambda: 0.0)
    assert [backoff.pause() for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_short_service_does_not_reset_the_pause():
    now = 0.0
    backoff = BackOff(lambda: now)
    pauses = []
    for _ in range(3):
        backoff.ready()
        now += CALM - 1
        pauses.append(backoff.pause())
    assert pauses == [0.2, 0.4, 0.8]


def test_long_service_resets_the_pause():
    now = 0.0
    backoff = BackOff(lambda: now)
    backoff.pause()
    backoff.ready()
    now += 1
    backoff.ready()
    now += CALM - 1
    assert backoff.pause() == 0.2
