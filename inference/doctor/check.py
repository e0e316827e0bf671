"""The result of one check of the doctor command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a diagnosis.

    Attributes:
        name: the subject of the check.
        verdict: a warning is worth knowing but breaks nothing.
        text: the finding.
        advice: a suggested fix; empty only if the verdict is ok.
        figures: the finding in numbers, for programs.
        quotes: the text may quote a setting or an exception, so it is left out of shared reports.
    """

    name: str
    verdict: Verdict
    text: str
    advice: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    quotes: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


ReportProgress = Callable[[str], None]
"""Receives a description of the current work, for checks that take longer than a moment."""


def run_checks(name: str, run: Callable[[], Iterable[Check]]) -> list[Check]:
    """Run checks. An exception becomes a problem of its own and does not end the other checks."""
    try:
        return list(run())
    except Exception as error:
        text = f"the check failed ({type(error).__name__}: {error})"
        return [Check(name, "problem", text, "Please report this with `codellama-ls doctor --bundle`.", quotes=True)]


def healthy(checks: Iterable[Check]) -> bool:
    """Return True if there is no problem."""
    return all(check.verdict != "problem" for check in checks)
