"""What the engine has done since it started, in numbers: never a word of anybody's text. Torch-free."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import psutil

from inference.api.events import Event, Failed, Finished, Outcome
from inference.api.requests import PRIORITIES, Priority

ENDS = ("finished", "failed", "cancelled")


@dataclass
class Stats:
    """Counted on the event loop. ``refused`` are requests that were not begun as too much waited already."""

    started: float = field(default_factory=time.monotonic)
    answers: dict[Priority, Counter[str]] = field(default_factory=lambda: {p: Counter() for p in PRIORITIES})
    tokens: Counter[str] = field(default_factory=Counter)
    refused: int = 0

    def ended(self, priority: Priority, last: Event | None) -> None:
        """One answer ended with ``last``, or was left before its end."""
        if isinstance(last, Finished):
            self.answers[priority]["finished"] += 1
            self._count(last.outcome)
        else:
            self.answers[priority]["failed" if isinstance(last, Failed) else "cancelled"] += 1

    def to_json(self) -> dict[str, Any]:
        """For ``GET /stats``: seconds, bytes and counts."""
        return {
            "uptime_seconds": round(time.monotonic() - self.started, 1),
            "answers": {p: {end: count[end] for end in ENDS} for p, count in self.answers.items()},
            "refused": self.refused,
            "tokens": {name: self.tokens[name] for name in ("prompt", "reused", "completion", "drafted", "accepted")},
            "memory": {"resident_bytes": psutil.Process().memory_info().rss, "gpu_bytes": _gpu_bytes()},
        }

    def _count(self, outcome: Outcome) -> None:
        self.tokens["prompt"] += outcome.prompt_tokens
        self.tokens["reused"] += outcome.reused_tokens
        self.tokens["completion"] += outcome.completion_tokens
        self.tokens["accepted"] += outcome.accepted_tokens
        self.tokens["drafted"] += outcome.accepted_tokens + outcome.rejected_tokens


def _gpu_bytes() -> int:
    """What torch holds of GPUs, caches included; 0 as long as nothing has imported it."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "cuda") or not torch.cuda.is_initialized():
        return 0
    return torch.cuda.memory_reserved()
