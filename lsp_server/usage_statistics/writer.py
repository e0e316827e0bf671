"""A thread that keeps rows, so that no editor ever waits for a disk. Knows no LSP.

What can't be kept is said once in the log and is missing there, and nowhere else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from queue import Empty, SimpleQueue

from lsp_server.usage_statistics.storage import StatisticsError, Storage, SuggestionRow, Today

log = logging.getLogger(__name__)

LONGEST_WAIT = 2.0
"""Seconds that closing, and asking for figures, wait for what is not kept yet."""

Change = tuple[SuggestionRow, bool]


class Writer:
    """Rows are taken between ``start`` and ``close``; at other times they are dropped.

    Attributes:
        today: as last read, of all windows; None while it isn't known.
    """

    def __init__(self) -> None:
        self.today: Today | None = None
        self._queue: SimpleQueue[Change | threading.Event | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._on_accepted: Callable[[], None] = lambda: None
        self._told = False

    def start(self, on_accepted: Callable[[], None] = lambda: None) -> None:
        """``on_accepted`` is called, in the thread, when ``today`` has more or fewer that were accepted."""
        self._on_accepted = on_accepted
        self._thread = threading.Thread(target=self._run, name="statistics", daemon=True)
        self._thread.start()

    def put(self, row: SuggestionRow, new: bool) -> None:
        """Keep a row, soon."""
        if self._thread is not None:
            self._queue.put((row, new))

    def flush(self) -> None:
        """Wait until what was put is kept; not for ever."""
        if self._thread is not None:
            done = threading.Event()
            self._queue.put(done)
            done.wait(LONGEST_WAIT)

    def close(self) -> None:
        """Keep what was put, and end."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join(LONGEST_WAIT)

    def _run(self) -> None:
        storage = Storage()
        self._attempt(storage, [])
        while (first := self._queue.get()) is not None:
            waiting = [first, *self._more()]
            self._attempt(storage, [change for change in waiting if isinstance(change, tuple)])
            for done in waiting:
                if isinstance(done, threading.Event):
                    done.set()
            if None in waiting:
                break
        storage.close()

    def _more(self) -> Iterator[Change | threading.Event | None]:
        """All that has gathered meanwhile."""
        while True:
            try:
                yield self._queue.get_nowait()
            except Empty:
                return

    def _attempt(self, storage: Storage, changes: list[Change]) -> None:
        try:
            if changes:
                storage.write(changes)
            before, self.today = self.today, storage.today(midnight())
        except StatisticsError as error:
            storage.close()
            if not self._told:
                self._told = True
                log.warning("statistics are not kept: %s", error)
            return
        if before is not None and before.accepted != self.today.accepted:
            self._on_accepted()


def midnight() -> float:
    """When today began, in seconds since 1970."""
    return datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
