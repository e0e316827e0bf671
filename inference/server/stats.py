"""Counters of the engine since its start, for ``GET /stats``. They never contain text of a request."""

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
    """Counters, updated on the event loop. ``refused`` counts requests refused because the engine was busy."""

    started: float = field(default_factory=time.monotonic)
    answers: dict[Priority, Counter[str]] = field(default_factory=lambda: {p: Counter() for p in PRIORITIES})
    tokens: Counter[str] = field(default_factory=Counter)
    refused: int = 0

    def ended(self, priority: Priority, last: Event | None) -> None:
        """Count a generation by its last event; None if it was cancelled."""
        if isinstance(last, Finished):
            self.answers[priority]["finished"] += 1
            self._count(last.outcome)
        else:
            self.answers[priority]["failed" if isinstance(last, Failed) else "cancelled"] += 1

    def to_json(self) -> dict[str, Any]:
        """Return the counters for ``GET /stats``: seconds, bytes and counts."""
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
    """Return the GPU memory reserved by torch, caches included; 0 if torch is not imported."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "cuda") or not torch.cuda.is_initialized():
        return 0
    return torch.cuda.memory_reserved()
