"""What became of each request, kept for whoever asks why. Stays in memory; holds no code of the user's."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from inference.generation.answer import Outcome

Result = Literal["shown", "empty", "superseded", "cancelled", "off", "not ready", "failed"]

KEPT = 200


@dataclass(slots=True)
class Record:
    """One request: where, why, how it ended, and where the time went (milliseconds).

    Attributes:
        reason: in words, why nothing was shown.
        limits: what the model cannot do, as the engine says it; empty for one that infills.
        adapter: which of the person's own adapters the model answered under; empty for none.
        amount: the kind of stop rule.
        generated: characters the model wrote; ``shown``: characters left of them.
        rules: which rules changed the model's text, by name; of an empty one the last one dropped it.
        outcome: what the engine said of the generation, if it was asked.
    """

    uri: str
    line: int
    invoked: bool
    result: Result = "empty"
    reason: str = ""
    limits: str = ""
    adapter: str = ""
    amount: str = ""
    waited_ms: float = 0.0
    total_ms: float = 0.0
    generated: int = 0
    shown: int = 0
    rules: tuple[str, ...] = ()
    outcome: Outcome | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Trace:
    """The last requests, newest last."""

    records: deque[Record] = field(default_factory=lambda: deque(maxlen=KEPT))

    def begin(self, uri: str, line: int, invoked: bool) -> Record:
        """A record to be filled in while the request runs."""
        record = Record(uri, line, invoked)
        self.records.append(record)
        return record
