"""What became of each request, kept for whoever asks why. Holds no code of the user's; knows no file."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from inference.generation.answer import Outcome

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
