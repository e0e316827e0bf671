"""What is kept of one suggestion: numbers, a language, a model and a time. No code and no file's name.

The rows of all of a person's windows in one SQLite file that is theirs alone. Knows no LSP and no figures.

Several servers write at once: SQLite's write-ahead log lets each wait a moment for the other, and readers for nobody.
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

from inference.system.runtime_folder import NotPrivateError, own_folder

Fate = Literal["shown", "accepted", "partly", "typed"]
"""What became of it: nothing; all that was left of it was accepted; some of it was; the person typed it themselves."""


@dataclass(frozen=True, slots=True)
class SuggestionRow:
    """One suggestion. What a person has typed of it since does not make it another.

    Attributes:
        id: a random number.
        at: when it was shown, in seconds since 1970 (UTC).
        language: the client's language id.
        invoked: it was asked for by hand.
        latency_ms: from the request to the answer, debounce and all.
        characters: its length.
        taken: characters of it that came by accepting, and were not typed.
        typed: characters of it that the person typed.
        kept: what was taken still stood there 30 seconds later; None while, or where, that is not known.
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
"""Environment variable that names another folder."""

LONGEST_DAYS = 90
"""Older rows are removed."""
DAY = 86_400
CONFIRMING_DAYS = 3
"""Age is counted from the earliest of the newest days with rows, this many: a clock that is wrong for a day or two
must not make every other row look old."""
LONGEST_TODAY = 25 * 3600
"""Seconds in a day on which daylight saving time ends."""

PATIENCE = 5.0
"""Seconds to wait for another process that writes."""

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


class StatisticsError(RuntimeError):
    """The file can't be used; the message says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Today:
    """How many suggestions were shown since midnight, and how many of them accepted."""

    shown: int = 0
    accepted: int = 0


def path() -> Path:
    """The file: in ``$CODELLAMA_LS_STATISTICS``, else in the folder where the user's programs keep their state.

    Not beside the engine's socket: that folder ends with the user's last session.
    """
    chosen = os.environ.get(FOLDER_VARIABLE)
    folder = Path(chosen).expanduser() if chosen else platformdirs.user_state_path("codellama-ls", False)
    return folder / "statistics.sqlite3"


class Storage:
    """One process's way into the file. Use it in one thread; every method raises ``StatisticsError``.

    Where there is no file nothing is read, and the first ``write`` makes it.
    """

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None
        self._pruned = False

    def write(self, changes: Iterable[tuple[SuggestionRow, bool]]) -> None:
        """Add rows that are new and change others, all or none. A row that was erased meanwhile stays away."""
        with _explained():
            connection = self._connection = self._connection or _open(path())
            with connection:
                for row, new in changes:
                    id_, *rest = astuple(row)
                    connection.execute(*((_INSERT, (id_, *rest)) if new else (_UPDATE, (*rest, id_))))
                if not self._pruned:
                    _prune(connection)
            self._pruned = True

    def read(self, since: float, until: float = math.inf) -> list[SuggestionRow]:
        """The rows from ``since`` to ``until`` (seconds since 1970), oldest first."""
        with _explained():
            return [_row(values) for values in self._query(_SELECT, since, until)]

    def today(self, midnight: float) -> Today:
        """Return what was shown in the day that began at ``midnight``, in all windows."""
        with _explained():
            return Today(*next(self._query(_TODAY, midnight, midnight + LONGEST_TODAY), (0, 0)))

    def close(self) -> None:
        """The next call opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _query(self, query: str, since: float, until: float) -> Iterator[Any]:
        """Of no file, nothing."""
        if self._connection is None and path().exists():
            self._connection = _open(path())
        return iter(()) if self._connection is None else self._connection.execute(query, (since, until))


def erase() -> None:
    """Remove all rows, so that their bytes are gone too; a damaged file goes as a whole. Raises ``StatisticsError``."""
    file = path()
    if not file.exists():
        return
    with _explained():
        try:
            with closing(_open(file)) as connection:
                with connection:
                    connection.execute("DELETE FROM suggestions")
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            if not _damaged(error):
                raise
            for each in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
                each.unlink(missing_ok=True)


def _open(file: Path) -> sqlite3.Connection:
    """Connect, and make what is missing; one process at a time."""
    own_folder(file.parent, FOLDER_VARIABLE)
    with FileLock(file.with_suffix(".lock"), timeout=PATIENCE, mode=0o600):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))  # SQLite's own would be for all to read
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
        raise StatisticsError(f"{path()} was written by another version of codellama-ls, and is left alone.")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA secure_delete = ON")
    if version == 0:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(
            f"BEGIN; {_TABLE}; CREATE INDEX suggestions_at ON suggestions (at); PRAGMA user_version = {_FORMAT}; COMMIT"
        )


def _prune(connection: sqlite3.Connection) -> None:
    """Remove rows that are older than ``LONGEST_DAYS``, once enough days confirm the clock (``CONFIRMING_DAYS``)."""
    for (day,) in connection.execute(_CONFIRMED_DAY, (time.time(),)).fetchall():
        connection.execute("DELETE FROM suggestions WHERE at < ?", ((day - LONGEST_DAYS) * DAY,))


def _row(values: tuple[Any, ...]) -> SuggestionRow:
    row = dict(zip(_COLUMNS, values, strict=True))
    kept = row["kept"]
    return SuggestionRow(**{**row, "invoked": bool(row["invoked"]), "kept": None if kept is None else bool(kept)})


@contextmanager
def _explained() -> Iterator[None]:
    """Whatever goes wrong inside, as ``StatisticsError``."""
    try:
        yield
    except (
        sqlite3.Error,
        OSError,
        NotPrivateError,
        ValueError,
        OverflowError,
    ) as error:  # the last two: odd values of a row
        if _damaged(error):
            raise StatisticsError(f"{path()} is damaged; `codellama-ls stats --erase` begins a new one.") from error
        raise StatisticsError(f"{path()} can't be used: {error}") from error


def _damaged(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
