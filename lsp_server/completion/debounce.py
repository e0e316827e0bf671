"""Debounce: how long an automatic request waits for the next keystroke. Pure; the caller passes the time.

A request that the next keystroke makes useless wastes one generation. So the delay never exceeds the model's usual
latency. It need not be much longer than the user's usual interval between keystrokes either: after that, typing has
paused. Users pause more often after the end of a word or an opening bracket, so the delay is shorter there.
"""

from __future__ import annotations

from collections import deque
from statistics import median

SAMPLES = 20
PAUSE_MS = 1000.0
"""A longer gap between two keystrokes is a pause and is not sampled."""

SIMULTANEOUS_MS = 20.0
"""Changes closer together belong to one keystroke: the editor closes a bracket, or types at several cursors."""

DEFAULT_INTERVAL_MS = 180.0
"""Assumed milliseconds between keystrokes before any are known: about 65 words a minute."""

WITHIN_WORD, AFTER_WORD, OPENING = 1.5, 1.0, 0.5
"""The delay, in usual intervals between keystrokes."""


class TypingRate:
    """The user's typing rate and the model's latency, as medians over recent samples in milliseconds."""

    def __init__(self) -> None:
        self._last_key: float | None = None
        self._intervals: deque[float] = deque(maxlen=SAMPLES)
        self._latencies: deque[float] = deque(maxlen=SAMPLES)

    def record_key(self, now_ms: float) -> None:
        """Record that the document changed at ``now_ms``, on any monotonic clock."""
        if self._last_key is not None and SIMULTANEOUS_MS < now_ms - self._last_key < PAUSE_MS:
            self._intervals.append(now_ms - self._last_key)
        self._last_key = now_ms

    def record_latency(self, latency_ms: float) -> None:
        """Record how long the model took to complete a request."""
        self._latencies.append(latency_ms)

    @property
    def interval_ms(self) -> float:
        """Return the median interval between keystrokes."""
        return median(self._intervals) if self._intervals else DEFAULT_INTERVAL_MS

    @property
    def latency_ms(self) -> float | None:
        """Return the model's median latency; None before the first sample."""
        return median(self._latencies) if self._latencies else None


def debounce(left: str, rate: TypingRate, limit_ms: float) -> float:
    """Return the delay in milliseconds, at most ``limit_ms``; ``left`` is the line's text before the cursor."""
    delay_ms = _intervals_to_wait(left) * rate.interval_ms
    latency_ms = rate.latency_ms
    return min(limit_ms, delay_ms) if latency_ms is None else min(limit_ms, delay_ms, latency_ms)


def _intervals_to_wait(left: str) -> float:
    """Users stop to think on a new line and after ``.`` or ``(``; they finish words."""
    typed = left[-1:]
    if typed in (".", "(", "[", "{", ":") or not left.strip():
        return OPENING
    return WITHIN_WORD if typed.isalnum() or typed == "_" else AFTER_WORD
