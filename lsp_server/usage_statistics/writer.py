"""Write rows in a thread, so that the language server never waits for the disk.

A failure is logged once; its rows are lost.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from queue import Empty, SimpleQueue

from lsp_server.usage_statistics.storage import StatisticsError, StatisticsStore, SuggestionRow, Today

log = logging.getLogger(__name__)

LONGEST_WAIT = 2.0
"""Seconds that ``flush`` and ``close`` wait for pending rows."""

Change = tuple[SuggestionRow, bool]
"""A row, and True if it is new."""


class StatisticsWriter:
    """Writes rows between ``start`` and ``close``; rows put at other times are dropped.

    Attributes:
        today: counts of all editor sessions as last read; None if not known yet.
    """

    def __init__(self) -> None:
        self.today: Today | None = None
        self._queue: SimpleQueue[Change | threading.Event | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._on_accepted: Callable[[], None] = lambda: None
        self._warned = False

    def start(self, on_accepted: Callable[[], None] = lambda: None) -> None:
        """Start the thread. It calls ``on_accepted`` when the number of accepted suggestions of today changes."""
        self._on_accepted = on_accepted
        self._thread = threading.Thread(target=self._run, name="statistics", daemon=True)
        self._thread.start()

    def put(self, row: SuggestionRow, new: bool) -> None:
        """Queue a row."""
        if self._thread is not None:
            self._queue.put((row, new))

    def flush(self) -> None:
        """Wait until all queued rows are written, at most ``LONGEST_WAIT``."""
        if self._thread is not None:
            done = threading.Event()
            self._queue.put(done)
            done.wait(LONGEST_WAIT)

    def close(self) -> None:
        """Write all queued rows and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join(LONGEST_WAIT)

    def _run(self) -> None:
        storage = StatisticsStore()
        self._write(storage, [])
        while (first := self._queue.get()) is not None:
            waiting = [first, *self._queued()]
            self._write(storage, [change for change in waiting if isinstance(change, tuple)])
            for done in waiting:
                if isinstance(done, threading.Event):
                    done.set()
            if None in waiting:
                break
        storage.close()

    def _queued(self) -> Iterator[Change | threading.Event | None]:
        """Yield everything that is queued."""
        while True:
            try:
                yield self._queue.get_nowait()
            except Empty:
                return

    def _write(self, storage: StatisticsStore, changes: list[Change]) -> None:
        try:
            if changes:
                storage.write(changes)
            before, self.today = self.today, storage.today(midnight())
        except StatisticsError as error:
            storage.close()
            if not self._warned:
                self._warned = True
                log.warning("statistics are not kept: %s", error)
            return
        if before is not None and before.accepted != self.today.accepted:
            self._on_accepted()


def midnight() -> float:
    """Return the start of today in local time, in seconds since 1970."""
    return datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
