"""The body of ``POST /retire``: who wants the engine to leave, and how soon. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inference.serving.wire import WireError


@dataclass(frozen=True, slots=True)
class Retirement:
    """``stop``: by a person's wish, not for another engine; ``now``: without finishing what has begun."""

    stop: bool = False
    now: bool = False

    @property
    def message(self) -> str:
        """For who watches the engine."""
        if self.stop:
            return "the engine was stopped; the next request starts it again"
        return "the engine finishes its last requests, then one of the version now installed takes its place"


def parse_retirement(body: Any) -> Retirement:
    """Check the body. Raises ``WireError``."""
    if not isinstance(body, dict):
        raise WireError("The request's body must be a JSON object.")
    for name, value in body.items():
        if name not in Retirement.__dataclass_fields__ or not isinstance(value, bool):
            raise WireError(f"'{name}' is not known here, or not true or false.", name)
    return Retirement(**body)
