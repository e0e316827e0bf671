"""One thing that was looked at, and what came of it. Value objects; knows not what is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a diagnosis.

    Attributes:
        name: what was looked at.
        verdict: a warning is worth knowing and breaks nothing.
        text: what was found, for a person.
        advice: the next step, for all that is not well.
        figures: the same in numbers, for programs.
        quotes: whether the text may hold words of others (a setting, an exception), so that it is not for sharing.
    """

    name: str
    verdict: Verdict
    text: str
    advice: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    quotes: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


Say = Callable[[str], None]
"""Told what is being done now, where that takes longer than a moment."""


def attempt(name: str, look: Callable[[], Iterable[Check]]) -> list[Check]:
    """What ``look`` finds. A check that breaks is a problem of its own and does not end the others."""
    try:
        return list(look())
    except Exception as error:
        text = f"it can't be looked at ({type(error).__name__}: {error})"
        return [Check(name, "problem", text, "Report this: `codellama-ls doctor --bundle`.", quotes=True)]


def healthy(checks: Iterable[Check]) -> bool:
    """Whether there is no problem."""
    return all(check.verdict != "problem" for check in checks)
