"""The log limits repeated and long entries."""

from __future__ import annotations

import io
import logging

import pytest
from fakes.clock import ManualClock

from lsp_server.server_log import MAX_ENTRY, MAX_REPEATS, PERIOD, RepeatFilter, ShortFormatter


@pytest.fixture
def written() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def log(written, clock) -> logging.Logger:
    log, handler = logging.Logger("test"), logging.StreamHandler(written)
    handler.addFilter(RepeatFilter(clock))
    handler.setFormatter(ShortFormatter("%(message)s"))
    log.addHandler(handler)
    return log


def test_repeated_warning_is_counted_and_reported_in_the_next_period(log, written, clock):
    for n in range(1_000):
        log.warning("bad message %d", n)
    assert written.getvalue().splitlines() == [f"bad message {n}" for n in range(MAX_REPEATS)]
    clock.advance(PERIOD)
    log.warning("bad message %d", 1_000)
    assert (
        written.getvalue().splitlines()[-1]
        == f"bad message 1000 [{1_000 - MAX_REPEATS} more like this were not logged]"
    )


def test_other_warnings_and_information_are_written_meanwhile(log, written):
    for _ in range(20):
        log.error("one")
        log.info("progress")
    log.error("another")
    assert written.getvalue().splitlines().count("progress") == 20
    assert written.getvalue().splitlines()[-1] == "another"


def test_long_traceback_is_cut_in_its_middle(log, written):
    def deep() -> None:
        deeper()

    def deeper() -> None:
        deep()

    try:
        deep()
    except RecursionError:
        log.exception("too deep")
    assert written.getvalue().startswith("too deep\n")
    assert "RecursionError" in written.getvalue()
    assert len(written.getvalue()) < MAX_ENTRY + 10
