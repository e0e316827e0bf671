"""The statistics file: privacy, concurrent writers, old, damaged and erased rows."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing

import pytest

from lsp_server.usage_statistics import storage
from lsp_server.usage_statistics.storage import (
    CONFIRMING_DAYS,
    DAY,
    LONGEST_DAYS,
    StatisticsError,
    StatisticsStore,
    SuggestionRow,
    Today,
    erase_statistics,
    statistics_path,
)
from lsp_server.usage_statistics.usage_figures import recent_figures
from lsp_server.usage_statistics.writer import midnight


def row(n: int, at: float | None = None, **changes) -> SuggestionRow:
    return SuggestionRow(**{"id": n, "at": time.time() if at is None else at, "language": "python", "model": "starter",
                  "invoked": False, "latency_ms": 1.5, "characters": 10, **changes})  # fmt: skip


def stored(*changes: tuple[SuggestionRow, bool]) -> list[SuggestionRow]:
    with closing(StatisticsStore()) as connection:
        if changes:
            connection.write(changes)
        return connection.read(0)


def test_rows_are_read_as_last_written(runtime):
    one, other = row(1, at=2e9), row(2, at=1.9e9, invoked=True, fate="partly", taken=3, typed=1, kept=False)
    assert stored((one, True), (other, True)) == [other, one]
    accepted = row(1, at=2e9, fate="accepted", taken=10, kept=True)
    assert stored((accepted, False)) == [other, accepted]


def test_file_and_folder_are_private(runtime):
    with closing(StatisticsStore()) as connection:
        connection.write([(row(1), True)])
        names = {file.name: stat.S_IMODE(file.stat().st_mode) for file in statistics_path().parent.iterdir()}
    assert stat.S_IMODE(statistics_path().parent.stat().st_mode) == 0o700
    assert names.pop("statistics.lock", 0o600) == 0o600
    assert names == dict.fromkeys(["statistics.sqlite3", "statistics.sqlite3-shm", "statistics.sqlite3-wal"], 0o600)


def test_only_language_model_and_fate_are_text(runtime):
    """No column can hold code or a file name."""
    stored((row(1), True))
    with closing(sqlite3.connect(statistics_path())) as connection:
        columns = {name: kind for _, name, kind, *_ in connection.execute("PRAGMA table_info(suggestions)")}
    texts = [name for name, kind in columns.items() if kind not in ("INTEGER", "REAL")]
    assert texts == ["language", "model", "fate"]


def test_reading_creates_no_file(runtime):
    with closing(StatisticsStore()) as connection:
        assert connection.read(0) == []
        assert connection.today(0) == Today(0, 0)
    assert not statistics_path().parent.exists()


def test_rows_older_than_three_months_are_deleted(runtime):
    """Age is counted in days of use, not by the clock alone."""
    now = time.time()
    stored(*((row(n, at=now - (LONGEST_DAYS + 10 - n) * DAY), True) for n in range(1, 20)))
    stored(*((row(20 + n, at=now - n * DAY), True) for n in range(CONFIRMING_DAYS)))
    ids = [one.id for one in stored((row(30, at=now), True))]
    assert [n for n in ids if n < 20] == list(range(10 - CONFIRMING_DAYS + 1, 20))
    assert [n for n in ids if n >= 20] == [22, 21, 20, 30]


def at_clock(monkeypatch, now: float, *changes: tuple[SuggestionRow, bool]) -> list[int]:
    """Write as a new process whose clock shows ``now``; return the ids of all rows."""
    monkeypatch.setattr(time, "time", lambda: now)
    return [one.id for one in stored(*changes)]


def test_clock_years_ahead_deletes_nothing(runtime, monkeypatch):
    now = time.time()
    usual = [(row(n, at=now - n * DAY), True) for n in range(30)]
    at_clock(monkeypatch, now, *usual)
    for hour in range(3):
        ahead = now + 400 * DAY + hour * 3600
        assert len(at_clock(monkeypatch, ahead, (row(100 + hour, at=ahead), True))) == 31 + hour
    assert len(at_clock(monkeypatch, now, (row(200, at=now), True))) == 34


def test_clock_set_back_deletes_nothing(runtime, monkeypatch):
    now = time.time()
    at_clock(monkeypatch, now, *((row(n, at=now - n * DAY), True) for n in range(30)))
    assert len(at_clock(monkeypatch, 1000.0, (row(100, at=1000.0), True))) == 31


def test_rows_in_the_future_are_not_counted(runtime, monkeypatch):
    now = time.time()
    stored((row(1, at=now), True), (row(2, at=now + 400 * DAY, fate="accepted"), True))
    assert recent_figures(30)["all"]["shown"] == 1
    with closing(StatisticsStore()) as connection:
        assert connection.today(midnight()) == Today(shown=1, accepted=0)


def test_today_counts_from_midnight_to_midnight(runtime):
    stored((row(1, at=99.0, fate="accepted"), True))
    with closing(StatisticsStore()) as connection:
        connection.write([(row(2, at=1e9, fate="accepted"), True), (row(3, at=1e9 + 0.9 * DAY), True)])
        connection.write([(row(4, at=1e9 + 2 * DAY), True)])
        assert connection.today(1e9) == Today(shown=2, accepted=1)


def test_concurrent_writers_lose_nothing(runtime):
    """All editor sessions write, starting without a file."""
    code = (
        "import sys; import lsp_server.usage_statistics.storage\n"
        "Row = lsp_server.usage_statistics.storage.SuggestionRow\n"
        "connection, first = lsp_server.usage_statistics.storage.StatisticsStore(), int(sys.argv[1])\n"
        "sys.stdin.readline()\n"
        "for n in range(first, first + 100):\n"
        "    connection.write([(Row(n, 2e9, 'python', 'starter', False, 1.0, 9), True)])\n"
    )
    command = [sys.executable, "-c", code]
    writers = [subprocess.Popen([*command, str(n)], stdin=subprocess.PIPE, text=True) for n in (0, 100, 200)]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert [one.id for one in stored()] == list(range(300))


def test_erased_rows_are_overwritten_and_stay_away(runtime):
    """This holds even while a server has the file open and updates an erased row."""
    with closing(StatisticsStore()) as server:
        server.write([(row(1, language="klingon"), True)])
        erase_statistics()
        server.write([(row(1, language="klingon", fate="accepted"), False)])
        assert server.read(0) == []
        server.write([(row(2), True)])
        assert [one.id for one in server.read(0)] == [2]
    assert b"klingon" not in b"".join(file.read_bytes() for file in statistics_path().parent.iterdir())


def test_damaged_file_is_replaced_after_erase(runtime):
    statistics_path().parent.mkdir(mode=0o700, parents=True)
    statistics_path().write_bytes(b"no database" * 1000)
    with pytest.raises(StatisticsError, match=r"is damaged; `codellama-ls stats --erase` begins a new one\."):
        stored((row(1), True))
    erase_statistics()
    assert [one.id for one in stored((row(1), True))] == [1]


def test_file_of_another_version_is_not_changed(runtime):
    stored((row(1), True))
    with closing(sqlite3.connect(statistics_path())) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(StatisticsError, match="another version"):
        stored((row(2), True))


def test_symbolic_link_is_not_followed(runtime, tmp_path):
    statistics_path().parent.mkdir(mode=0o700, parents=True)
    (tmp_path / "other").touch()
    statistics_path().symlink_to(tmp_path / "other")
    with pytest.raises(StatisticsError, match="can't be used"):
        stored((row(1), True))
    assert (tmp_path / "other").read_bytes() == b""


def test_long_lock_by_another_process_raises(runtime, monkeypatch):
    stored((row(1), True))
    monkeypatch.setattr(storage, "PATIENCE", 0.01)
    with closing(sqlite3.connect(statistics_path())) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StatisticsError, match="locked"):
            stored((row(2), True))
    assert [one.id for one in stored((row(3), True))] == [1, 3]


def test_folder_is_the_variable_or_the_state_folder(runtime, monkeypatch):
    assert statistics_path() == runtime.parent / "statistics" / "statistics.sqlite3"
    monkeypatch.delenv(storage.FOLDER_VARIABLE)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert str(statistics_path()) == "/state/codellama-ls/statistics.sqlite3"
