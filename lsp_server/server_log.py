"""The language server's log on stderr, with limits on repeated and on long entries.

Without them a client that sends a malformed message at each keystroke would fill the editor's log.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

MAX_REPEATS = 5
"""Entries of one kind in a period. Further ones are counted and not written."""

PERIOD = 60.0
"""Seconds."""

MAX_ENTRY = 4_000
"""Characters of an entry, its traceback included."""

MAX_KINDS = 1_000
"""Kinds of entries counted at a time."""


@dataclass
class _Count:
    since: float
    count: int = 0


class RepeatFilter(logging.Filter):
    """Limit warnings and errors of one kind in a period, and log afterwards how many were left out.

    Entries are of one kind if they have the same logger, exception type and first line of the message template.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._counts: dict[object, _Count] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write the record. The first one of a period gets the number left out before."""
        if record.levelno < logging.WARNING:
            return True
        current, left_out = self._period(_kind(record))
        current.count += 1
        if left_out:
            record.msg, record.args = f"{record.getMessage()} [{left_out} more like this were not logged]", None
        return current.count <= MAX_REPEATS

    def _period(self, kind: object) -> tuple[_Count, int]:
        """Return the count of the current period, and the entries left out in the last one if a new one begins."""
        now, last = self._clock(), self._counts.get(kind)
        if last is not None and now - last.since < PERIOD:
            return last, 0
        if len(self._counts) >= MAX_KINDS:
            self._counts.clear()
        self._counts[kind] = _Count(now)
        return self._counts[kind], max(0, last.count - MAX_REPEATS) if last else 0


def _kind(record: logging.LogRecord) -> object:
    raised = type(record.exc_info[1]) if record.exc_info else None
    return record.name, str(record.msg).partition("\n")[0][:100], raised  # asyncio's later lines differ each time


class ShortFormatter(logging.Formatter):
    """Cut long entries in the middle: the last line of a traceback has the error."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the entry, at most MAX_ENTRY characters and a mark."""
        text = super().format(record)
        half = MAX_ENTRY // 2
        return text if len(text) <= MAX_ENTRY else f"{text[:half]} […] {text[-half:]}"


def write_to_stderr() -> None:
    """Log to stderr at level INFO, without the user's code."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RepeatFilter())
    handler.setFormatter(ShortFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("pygls").setLevel(logging.WARNING)  # at INFO it logs the user's code
    logging.getLogger("httpx").setLevel(logging.WARNING)
