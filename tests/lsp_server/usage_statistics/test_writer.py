"""The writer thread: it writes all rows and survives errors."""

from __future__ import annotations

import logging
import time
from contextlib import closing

import pytest

from lsp_server.completion.trace import TraceRecord
from lsp_server.snapshot import Position, take
from lsp_server.usage_statistics.storage import StatisticsStore, SuggestionRow, Today, erase_statistics, statistics_path
from lsp_server.usage_statistics.watch import SuggestionWatch
from lsp_server.usage_statistics.writer import StatisticsWriter


def row(n: int, **changes) -> SuggestionRow:
    return SuggestionRow(**{"id": n, "at": time.time(), "language": "python", "model": "starter", "invoked": False,
                  "latency_ms": 1.5, "characters": 10, **changes})  # fmt: skip


def stored_ids() -> list[int]:
    with closing(StatisticsStore()) as storage:
        return [one.id for one in storage.read(0)]


def test_close_writes_all_queued_rows(runtime):
    writer = StatisticsWriter()
    writer.start()
    for n in range(500):
        writer.put(row(n), True)
    writer.close()
    assert sorted(stored_ids()) == list(range(500))


def test_rows_before_start_and_after_close_are_dropped(runtime):
    """A server without an editor writes no statistics."""
    writer = StatisticsWriter()
    writer.put(row(1), True)
    writer.start()
    writer.close()
    writer.put(row(2), True)
    writer.flush()
    assert not statistics_path().exists()


def test_today_counts_all_editor_sessions(runtime):
    """Earlier rows are counted without writing anything."""
    other = StatisticsWriter()
    other.start()
    other.put(row(1, fate="accepted"), True)
    other.flush()
    calls: list[Today | None] = []
    writer = StatisticsWriter()
    writer.start(lambda: calls.append(writer.today))
    writer.flush()
    assert writer.today == Today(1, 1)
    writer.put(row(2), True)
    writer.flush()
    assert (writer.today, calls) == (Today(2, 1), [])
    writer.put(row(2, fate="accepted"), False)
    writer.flush()
    assert calls == [Today(2, 2)]
    writer.close()
    other.close()


def test_damaged_file_is_logged_once_and_replaced(runtime, caplog):
    statistics_path().parent.mkdir(mode=0o700, parents=True)
    statistics_path().write_bytes(b"no database" * 1000)
    writer = StatisticsWriter()
    with caplog.at_level(logging.WARNING):
        writer.start()
        for n in range(3):
            writer.put(row(n), True)
            writer.flush()
    warning = f"statistics are not kept: {statistics_path()} is damaged; `codellama-ls stats --erase` begins a new one."
    assert [record.getMessage() for record in caplog.records] == [warning]
    erase_statistics()
    writer.put(row(7), True)
    writer.close()
    assert stored_ids() == [7]


def test_unwritable_folder_is_logged_once(runtime, caplog):
    statistics_path().parent.write_text("a file, not a folder")
    writer = StatisticsWriter()
    with caplog.at_level(logging.WARNING):
        writer.start()
        for n in range(3):
            writer.put(row(n), True)
            writer.flush()
        writer.close()
    (record,) = caplog.records
    assert str(statistics_path().parent) in record.getMessage()


@pytest.mark.parametrize("odd", [{"language": "\ud800"}, {"characters": 2**63}])
def test_invalid_row_does_not_end_the_thread(runtime, odd):
    """Later rows are still written."""
    writer = StatisticsWriter()
    writer.start()
    writer.put(row(1, **odd), True)
    writer.flush()
    writer.put(row(2), True)
    writer.close()
    assert stored_ids() == [2]


def test_language_of_a_suggestion_is_valid_unicode():
    rows = []
    watch = SuggestionWatch(lambda row, new: rows.append(row))
    watch.offer(
        take("x = ", Position(0, 4), "utf-16", language="p\ud800"), ["1"], TraceRecord("a:b", 0, True, ""), "starter"
    )
    assert [one.language for one in rows] == ["p?"]
