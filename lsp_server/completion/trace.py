"""The trace: the outcome of each completion request, in memory and in a file for ``codellama-ls doctor``.

The trace records and never decides anything. It holds document names, counts and times, no code. The file is shared by
the user's editor sessions. It lies beside the engine's socket in a folder that only its user can enter.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from inference.api.events import Outcome
from inference.system.files import open_private
from inference.system.runtime_folder import NotPrivateError, runtime_folder

log = logging.getLogger(__name__)

Result = Literal["shown", "empty", "superseded", "cancelled", "off", "refused", "not ready", "failed"]

Source = Literal["", "same", "typed", "running"]
"""Origin of a completion. Empty: generated for this request. Cached: for the ``same`` cursor, or for an earlier one
from which the user ``typed`` on. ``running``: joined an in-flight generation."""

Stage = Literal["gate", "cache", "debounce", "engine", "shape"]

KEPT = 200
"""Records in memory."""

LARGEST = 500_000
"""Bytes. A larger file is rotated; one older file is kept."""


@dataclass(slots=True)
class TraceRecord:
    """The outcome of one completion request. Times are in milliseconds.

    Attributes:
        at: arrival, ISO 8601, UTC.
        reason: why nothing was shown, for the user. The gate sets it for ``refused``, later stages for ``empty``.
        limits: limitations of the model, as the engine reports them; empty for one that infills.
        adapter: the user's adapter that was used; empty for none.
        server: address of the remote server; empty for the local engine.
        source: origin of the completion.
        amount: kind of the stop rule.
        filter: post-processing rules that changed the text. If nothing is left, the last one removed it.
        waited_ms: debounce delay.
        stages: milliseconds spent in each stage that was reached.
        generated: characters generated; ``shown``: characters displayed.
        alternatives: number of other texts offered.
        outcome: the engine's outcome of the generation, if there was one.
    """

    uri: str
    line: int
    invoked: bool
    at: str = ""
    result: Result = "empty"
    reason: str = ""
    limits: str = ""
    adapter: str = ""
    server: str = ""
    source: Source = ""
    amount: str = ""
    filter: str = ""
    waited_ms: float = 0.0
    total_ms: float = 0.0
    stages: dict[Stage, float] = field(default_factory=dict)
    generated: int = 0
    shown: int = 0
    alternatives: int = 0
    outcome: Outcome | None = None

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Add the time spent in the block to ``stage``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - started) * 1000
            self.stages[stage] = round(self.stages.get(stage, 0.0) + spent, 3)

    def cancel(self) -> None:
        """Note that the request was cancelled by the editor."""
        self.result, self.reason = "cancelled", "the editor cancelled the request before it was answered"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Trace:
    """The records of the last requests, newest last."""

    records: deque[TraceRecord] = field(default_factory=lambda: deque(maxlen=KEPT))

    def begin(self, uri: str, line: int, invoked: bool) -> TraceRecord:
        """Add a record, to be filled in while the request runs."""
        record = TraceRecord(uri, line, invoked, datetime.now(UTC).isoformat(timespec="milliseconds"))
        self.records.append(record)
        return record


class RequestLog:
    """The file of request records that all editor sessions append to. A write error disables it and is logged once."""

    def __init__(self) -> None:
        self._broken = False

    def add(self, record: TraceRecord) -> None:
        """Append one line, with a single write to a file opened for appending: sessions do not mix their lines."""
        if self._broken:
            return
        try:
            path = _path()
            _rotate(path)
            line = json.dumps(record.to_json()).encode() + b"\n"
            with open_private(path, "ab") as file:
                file.write(line)
        except (OSError, NotPrivateError) as error:
            self._broken = True
            log.warning("Requests are not recorded for `codellama-ls doctor`: %s", error)


def last_requests(count: int) -> list[dict[str, Any]]:
    """Return the last ``count`` records, newest last. Raises ``NotPrivateError`` or ``OSError``."""
    path = _path()
    lines = [line for part in (_before(path), path) for line in _lines(part)]
    return [record for line in lines[-count:] for record in _parsed(line)]


def _rotate(path: Path) -> None:
    try:
        full = path.stat().st_size > LARGEST
    except FileNotFoundError:
        return
    if full:
        path.replace(_before(path))


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return []
    return text.splitlines()


def _parsed(line: str) -> list[dict[str, Any]]:
    """Return the record in a list; an empty list if a full disk truncated the line."""
    try:
        return [json.loads(line)]
    except ValueError:
        return []


def _path() -> Path:
    return runtime_folder() / "requests.jsonl"


def _before(path: Path) -> Path:
    return path.with_name("requests.before.jsonl")
