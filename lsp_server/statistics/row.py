"""What is kept of one suggestion: numbers, a language, a model and a time. No code and no file's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fate = Literal["shown", "accepted", "partly", "typed"]
"""What became of it: nothing; all that was left of it was accepted; some of it was; the person typed it themselves."""


@dataclass(frozen=True, slots=True)
class Row:
    """One suggestion. What a person has typed of it since does not make it another.

    Attributes:
        id: a random number.
        at: when it was shown, in seconds since 1970 (UTC).
        language: the client's language id.
        invoked: it was asked for by hand.
        latency_ms: from the request to the answer, debounce and all.
        characters: its length.
        taken: characters of it that came by accepting, and were not typed.
        typed: characters of it that the person typed.
        kept: what was taken still stood there 30 seconds later; None while, or where, that is not known.
    """

    id: int
    at: float
    language: str
    model: str
    invoked: bool
    latency_ms: float
    characters: int
    fate: Fate = "shown"
    taken: int = 0
    typed: int = 0
    kept: bool | None = None
