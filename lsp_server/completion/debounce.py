"""How long to wait for the next key before the model is asked. Pure: whoever uses it says what time it is.

A pause is waited for in order not to ask in vain, and asking in vain costs what the model then does in vain. So a wait
is never longer than the model takes to answer, nor much longer than this person takes from key to key: when that has
passed, they have paused. After what ends a word or opens something people pause more often, and less proof is needed.
"""

from __future__ import annotations

from collections import deque
from statistics import median

SAMPLES = 20
STILL_TYPING = 1000.0
"""Milliseconds; a longer gap between two keys is no rhythm but a rest."""

TOGETHER = 20.0
"""Milliseconds; nobody types faster. Changes this close are one key's: an editor closes a bracket, or cursors type."""

USUAL_GAP = 180.0
"""Milliseconds from key to key of a person of whom nothing is known: about 65 words a minute."""

WITHIN_WORD, AFTER_WORD, OPENING = 1.5, 1.0, 0.5
"""How many usual gaps prove a pause."""


class TypingRate:
    """How fast a person types and the model answers, as far as the last few keys and answers tell. Milliseconds."""

    def __init__(self) -> None:
        self._last_key: float | None = None
        self._gaps: deque[float] = deque(maxlen=SAMPLES)
        self._answers: deque[float] = deque(maxlen=SAMPLES)

    def key(self, now: float) -> None:
        """The document was changed at ``now``, of any clock."""
        if self._last_key is not None and TOGETHER < now - self._last_key < STILL_TYPING:
            self._gaps.append(now - self._last_key)
        self._last_key = now

    def answered(self, took: float) -> None:
        """The model answered."""
        self._answers.append(took)

    @property
    def gap(self) -> float:
        """From key to key, usually."""
        return median(self._gaps) if self._gaps else USUAL_GAP

    @property
    def latency(self) -> float | None:
        """Of the model, usually; None while nothing is known of it."""
        return median(self._answers) if self._answers else None


def debounce(left: str, rhythm: TypingRate, longest: float) -> float:
    """Milliseconds to wait after a key that made ``left`` the line's text up to the cursor; at most ``longest``."""
    wait = _proof(left) * rhythm.gap
    latency = rhythm.latency
    return min(longest, wait) if latency is None else min(longest, wait, latency)


def _proof(left: str) -> float:
    """A blank line's indentation, ``.`` and ``(`` are where people stop to think; words they finish."""
    typed = left[-1:]
    if typed in (".", "(", "[", "{", ":") or not left.strip():
        return OPENING
    return WITHIN_WORD if typed.isalnum() or typed == "_" else AFTER_WORD
