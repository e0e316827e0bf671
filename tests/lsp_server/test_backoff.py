"""An engine that keeps dying is started again less and less often."""

from __future__ import annotations

from lsp_server.concurrency import CALM, BackOff


def test_pauses_double_up_to_the_longest():
    backoff = BackOff(lambda: 0.0)
    assert [backoff.pause() for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_engine_that_dies_at_each_request_counts_as_dying_although_it_was_ready():
    now = 0.0
    backoff = BackOff(lambda: now)
    pauses = []
    for _ in range(3):
        backoff.ready()
        now += CALM - 1
        pauses.append(backoff.pause())
    assert pauses == [0.2, 0.4, 0.8]


def test_engine_that_served_for_long_begins_anew():
    now = 0.0
    backoff = BackOff(lambda: now)
    backoff.pause()
    backoff.ready()
    now += 1
    backoff.ready()
    now += CALM - 1
    assert backoff.pause() == 0.2
