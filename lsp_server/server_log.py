"""The language server's log on stderr: what repeats is counted, and no entry is long.

A client that sends one malformed message a key would fill the editor's log otherwise.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

MOST = 5
"""Entries of one kind in a period; the rest are counted."""

PERIOD = 60.0
"""Seconds."""

LONGEST = 4_000
"""Characters of an entry, its traceback included."""

KINDS = 1_000
"""Kinds of entries that are counted at a time."""


@dataclass
class _Seen:
    since: float
    count: int = 0


class Repeats(logging.Filter):
    """Let few warnings and errors of one kind pass in a period, and say then how many did not.

    A kind is one call of a logger: the first line of its message, without its arguments, and its exception's type.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[object, _Seen] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is written; one that begins a period tells what was left out before."""
        if record.levelno < logging.WARNING:
            return True
        seen, left_out = self._period(_kind(record))
        seen.count += 1
        if left_out:
            record.msg, record.args = f"{record.getMessage()} [{left_out} more like this were not logged]", None
        return seen.count <= MOST

    def _period(self, kind: object) -> tuple[_Seen, int]:
        """Return what was seen in this period, and how many entries the one before left out if this begins a new."""
        now, seen = self._clock(), self._seen.get(kind)
        if seen is not None and now - seen.since < PERIOD:
            return seen, 0
        if len(self._seen) >= KINDS:
            self._seen.clear()
        self._seen[kind] = _Seen(now)
        return self._seen[kind], max(0, seen.count - MOST) if seen else 0


def _kind(record: logging.LogRecord) -> object:
    raised = type(record.exc_info[1]) if record.exc_info else None
    return record.name, str(record.msg).partition("\n")[0][:100], raised  # asyncio's later lines differ each time


class Short(logging.Formatter):
    """Cut entries that are too long in their middle: a traceback's last line says what happened."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the entry, at most LONGEST characters and a mark."""
        text = super().format(record)
        half = LONGEST // 2
        return text if len(text) <= LONGEST else f"{text[:half]} […] {text[-half:]}"


def write_to_stderr() -> None:
    """Log to stderr from INFO on, without the user's code."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Repeats())
    handler.setFormatter(Short("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("pygls").setLevel(logging.WARNING)  # at INFO it logs the user's code
    logging.getLogger("httpx").setLevel(logging.WARNING)
