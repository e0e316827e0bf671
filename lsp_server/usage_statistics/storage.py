"""Usage statistics in one private SQLite file: a row per suggestion, from all of the user's editor sessions.

A row holds numbers, a language, a model and a time; no code and no file name. Several servers write at once: with
SQLite's write-ahead log writers wait briefly for each other, and readers never wait.
"""

from __future__ import annotations

import math
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import platformdirs
from filelock import FileLock

from inference.errors import CodeLlamaError
from inference.system.files import open_private
from inference.system.runtime_folder import NotPrivateError, require_private_folder

Fate = Literal["shown", "accepted", "partly", "typed"]
"""Outcome of a suggestion: only shown, accepted in full, accepted in part, or typed by the user."""


@dataclass(frozen=True, slots=True)
class SuggestionRow:
    """A row of the statistics: one suggestion. Typing along it does not make it another one.

    Attributes:
        id: a random number.
        at: when it was shown, in seconds since 1970 (UTC).
        language: the client's language id.
        model: the model that wrote it.
        invoked: the user requested it explicitly.
        latency_ms: end-to-end latency, debounce included.
        characters: its length.
        fate: what became of it.
        taken: characters inserted by accepting it.
        typed: characters that the user typed.
        kept: the accepted text was still there after 30 seconds; None if that is not known.
    """

    id: int
    at: float
    language: str
    model: str
    invoked: bool
    latency_ms: float
    characters: int
    fate: Fate = "shown"
    taken: int = 0
    typed: int = 0
    kept: bool | None = None


FOLDER_VARIABLE = "CODELLAMA_LS_STATISTICS"
"""Environment variable with the folder of the statistics file."""

LONGEST_DAYS = 90
"""Older rows are removed."""
DAY = 86_400
"""Seconds."""
CONFIRMING_DAYS = 3
"""Age is counted from the earliest of this many newest days with rows, so a clock that is wrong for a day or two does
not make all other rows look old."""
LONGEST_TODAY = 25 * 3600
"""Seconds in the longest day: the one on which daylight saving time ends."""

PATIENCE = 5.0
"""Seconds to wait for another process that is writing."""

_FORMAT = 1
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_COLUMNS = tuple(field.name for field in fields(SuggestionRow))
_TABLE = """CREATE TABLE suggestions (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, language TEXT NOT NULL, model TEXT NOT NULL, invoked INTEGER NOT NULL,
    latency_ms REAL NOT NULL, characters INTEGER NOT NULL, fate TEXT NOT NULL, taken INTEGER NOT NULL,
    typed INTEGER NOT NULL, kept INTEGER)"""
_INSERT = f"INSERT OR REPLACE INTO suggestions VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
_UPDATE = f"UPDATE suggestions SET {', '.join(f'{name} = ?' for name in _COLUMNS[1:])} WHERE id = ?"  # noqa: S608
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM suggestions WHERE at BETWEEN ? AND ? ORDER BY at"  # noqa: S608
_TODAY = "SELECT count(*), coalesce(sum(fate = 'accepted'), 0) FROM suggestions WHERE at BETWEEN ? AND ?"
_CONFIRMED_DAY = f"""SELECT DISTINCT CAST(at / {DAY} AS INTEGER) AS day FROM suggestions WHERE at <= ?
    ORDER BY day DESC LIMIT 1 OFFSET {CONFIRMING_DAYS - 1}"""  # noqa: S608


class StatisticsError(CodeLlamaError, RuntimeError):
    """The statistics file cannot be used."""


@dataclass(frozen=True, slots=True)
class Today:
    """Suggestions shown since midnight, and how many of them were accepted."""

    shown: int = 0
    accepted: int = 0


def statistics_path() -> Path:
    """Return the path of the file: in ``$CODELLAMA_LS_STATISTICS``, else in the user's state folder.

    The runtime folder is not used because it is deleted when the user's last session ends.
    """
    chosen = os.environ.get(FOLDER_VARIABLE)
    folder = Path(chosen).expanduser() if chosen else platformdirs.user_state_path("codellama-ls", False)
    return folder / "statistics.sqlite3"


class StatisticsStore:
    """A connection to the statistics file, for one thread. Every method raises ``StatisticsError``.

    Reading without a file returns nothing; the first ``write`` creates it.
    """

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None
        self._pruned = False

    def write(self, changes: Iterable[tuple[SuggestionRow, bool]]) -> None:
        """Insert the new rows and update the others in one transaction. Erased rows are not inserted again."""
        with _statistics_errors():
            connection = self._connection = self._connection or _open(statistics_path())
            with connection:
                for row, new in changes:
                    id_, *rest = astuple(row)
                    connection.execute(*((_INSERT, (id_, *rest)) if new else (_UPDATE, (*rest, id_))))
                if not self._pruned:
                    _prune(connection)
            self._pruned = True

    def read(self, since: float, until: float = math.inf) -> list[SuggestionRow]:
        """Return the rows from ``since`` to ``until`` (seconds since 1970), oldest first."""
        with _statistics_errors():
            return [_row(values) for values in self._query(_SELECT, since, until)]

    def today(self, midnight: float) -> Today:
        """Return the counts of all editor sessions for the day that began at ``midnight``."""
        with _statistics_errors():
            return Today(*next(self._query(_TODAY, midnight, midnight + LONGEST_TODAY), (0, 0)))

    def close(self) -> None:
        """Close the connection; the next call reopens it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _query(self, query: str, since: float, until: float) -> Iterator[Any]:
        """Run a query; without a file it has no rows."""
        if self._connection is None and statistics_path().exists():
            self._connection = _open(statistics_path())
        return iter(()) if self._connection is None else self._connection.execute(query, (since, until))


def erase_statistics() -> None:
    """Delete all rows and overwrite their bytes; delete a damaged file. Raises ``StatisticsError``."""
    file = statistics_path()
    if not file.exists():
        return
    with _statistics_errors():
        try:
            with closing(_open(file)) as connection:
                with connection:
                    connection.execute("DELETE FROM suggestions")
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            if not _damaged(error):
                raise
            for part in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
                part.unlink(missing_ok=True)


def _open(file: Path) -> sqlite3.Connection:
    """Connect, and create the folder, the file and the table if they are missing. One process at a time."""
    require_private_folder(file.parent, FOLDER_VARIABLE)
    with FileLock(file.with_suffix(".lock"), timeout=PATIENCE, mode=0o600):
        open_private(file, "ab").close()  # SQLite would let others read it
        connection = sqlite3.connect(file, timeout=PATIENCE)
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in (0, _FORMAT):
        raise StatisticsError(
            f"{statistics_path()} was written by another version of codellama-ls. Update codellama-ls or remove it."
        )
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA secure_delete = ON")
    if version == 0:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(
            f"BEGIN; {_TABLE}; CREATE INDEX suggestions_at ON suggestions (at); PRAGMA user_version = {_FORMAT}; COMMIT"
        )


def _prune(connection: sqlite3.Connection) -> None:
    """Delete rows older than ``LONGEST_DAYS``, once enough days confirm the clock (``CONFIRMING_DAYS``)."""
    for (day,) in connection.execute(_CONFIRMED_DAY, (time.time(),)).fetchall():
        connection.execute("DELETE FROM suggestions WHERE at < ?", ((day - LONGEST_DAYS) * DAY,))


def _row(values: tuple[Any, ...]) -> SuggestionRow:
    row = dict(zip(_COLUMNS, values, strict=True))
    kept = row["kept"]
    return SuggestionRow(**{**row, "invoked": bool(row["invoked"]), "kept": None if kept is None else bool(kept)})


@contextmanager
def _statistics_errors() -> Iterator[None]:
    """Raise errors of the file and the database as ``StatisticsError``."""
    try:
        yield
    # ValueError and OverflowError: SQLite rejects a row's value
    except (sqlite3.Error, OSError, NotPrivateError, ValueError, OverflowError) as error:
        if _damaged(error):
            advice = "`codellama-ls stats --erase` begins a new one."
            raise StatisticsError(f"{statistics_path()} is damaged; {advice}") from error
        raise StatisticsError(f"{statistics_path()} can't be used: {error}") from error


def _damaged(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
