"""What became of each request, kept for whoever asks why. Holds no code of the user's; knows no file.

The last requests of all of a person's windows in one file, for ``codellama-ls doctor``. Knows no LSP.

The file lies beside the engine's socket, in a folder that only its user can enter, and holds what the trace holds:
names of documents, counts and times, no code.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from inference.api.events import Outcome
from inference.system.runtime_folder import NotPrivateError, runtime_folder

Result = Literal["shown", "empty", "superseded", "cancelled", "off", "refused", "not ready", "failed"]

Source = Literal["", "same", "typed", "running"]
"""Where an answer came from if the model was not asked for it: it was given at this very place, its beginning has been
typed or accepted since, or it was just being written for an earlier key."""

Stage = Literal["gate", "cache", "debounce", "engine", "shape"]

KEPT = 200


@dataclass(slots=True)
class Record:
    """One request: where, why, how it ended, and where the time went (milliseconds).

    Attributes:
        at: when it came, ISO 8601, UTC.
        reason: in words, why nothing was shown. ``refused`` is the gate's verdict, ``empty`` everything's after it.
        limits: what the model cannot do, as the engine says it; empty for one that infills.
        adapter: which of the person's own adapters the model answered under; empty for none.
        server: the address of the server elsewhere that answers this window; empty for the engine here.
        source: where the answer came from, empty where the model was asked.
        amount: the kind of stop rule.
        filter: the rules that changed the model's text; if nothing was left, the last of them dropped it.
        waited_ms: what the debounce waited.
        stages: milliseconds in each, of those that were reached.
        generated: characters the model wrote; ``shown``: characters left of them.
        alternatives: how many other texts were offered.
        outcome: what the engine said of the generation, if it was asked.
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
        """Count what happens inside towards ``stage``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - started) * 1000
            self.stages[stage] = round(self.stages.get(stage, 0.0) + spent, 3)

    def cancel(self) -> None:
        """Note that the request was cancelled by the editor."""
        self.result, self.reason = "cancelled", "the editor took its request back before there was an answer"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Trace:
    """The last requests, newest last."""

    records: deque[Record] = field(default_factory=lambda: deque(maxlen=KEPT))

    def begin(self, uri: str, line: int, invoked: bool) -> Record:
        """A record to be filled in while the request runs."""
        record = Record(uri, line, invoked, datetime.now(UTC).isoformat(timespec="milliseconds"))
        self.records.append(record)
        return record


log = logging.getLogger(__name__)

LARGEST = 500_000
"""Bytes; then a new file is begun, and the one before is kept until the next time."""


class RequestLog:
    """Where a window's server writes. What can't be written is missing there, and nowhere else."""

    def __init__(self) -> None:
        self._broken = False

    def add(self, record: Record) -> None:
        """Append one line. One write to a file opened for appending: windows do not mix their lines."""
        if self._broken:
            return
        try:
            path = _path()
            _turn_over(path)
            line = json.dumps(record.to_json()).encode() + b"\n"
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                os.write(file, line)
            finally:
                os.close(file)
        except (OSError, NotPrivateError) as error:
            self._broken = True
            log.warning("requests are not recorded for `codellama-ls doctor`: %s", error)


def last_requests(count: int) -> list[dict[str, Any]]:
    """The last ``count`` requests, newest last. Raises ``NotPrivate`` or ``OSError``."""
    path = _path()
    lines = [line for part in (_before(path), path) for line in _lines(part)]
    return [record for line in lines[-count:] for record in _parsed(line)]


def _turn_over(path: Path) -> None:
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
    """Nothing where a full disk cut the line short."""
    try:
        return [json.loads(line)]
    except ValueError:
        return []


def _path() -> Path:
    return runtime_folder() / "requests.jsonl"


def _before(path: Path) -> Path:
    return path.with_name("requests.before.jsonl")
