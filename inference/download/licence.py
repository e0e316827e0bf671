"""A model's licence is shown before the first pull under it, accepted once, and remembered beside the models.

Torch-free. Knows no model and no hub; what it says goes to the console it is given.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from inference.system.files import make_private

OPEN = frozenset(
    ["apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "cc0-1.0", "cc-by-4.0", "unlicense"]
)
"""Licences, by SPDX id, that nobody needs to agree to before using a model."""

REMEMBERED = ".accepted-licences.json"


class LicenceError(Exception):
    """A licence was not accepted; the text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Licence:
    """What a model may be used for, and where that is written.

    Attributes:
        name: by SPDX id or as a person says it.
        url: where its text is; empty where nothing is known, and so nothing to accept.
        policy_url: where its acceptable-use policy is, or None.
    """

    name: str
    url: str
    policy_url: str | None = None


def require(licence: Licence, root: Path, console: Console, *, accepted: bool, ask: Callable[[], bool]) -> None:
    """Show ``licence`` unless it is unknown, an open one or was accepted before, and have it accepted.

    ``root`` is where acceptance is remembered, ``accepted`` that it was given beforehand; ``ask`` gets the answer of a
    person. Raises LicenceError where it is not accepted.
    """
    if not licence.url or licence.name.lower() in OPEN or licence.name in _remembered(root):
        return
    policy = f" Acceptable use: {licence.policy_url}" if licence.policy_url else ""
    console.print(f"This model is under the licence: {licence.name}, {licence.url}{policy}", markup=False)
    if not accepted and not ask():
        raise LicenceError("The licence was not accepted, so nothing was pulled: --accept-licence accepts it.")
    _remember(root, licence.name)


def ask_terminal(console: Console) -> bool:
    """Ask the person at the terminal; nobody there is a no."""
    if not sys.stdin.isatty():
        return False
    console.print("Do you accept it? [y/N] ", end="", markup=False)
    return input().strip().lower() in ("y", "yes")


def _remembered(root: Path) -> list[str]:
    try:
        names = json.loads((root / REMEMBERED).read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return names if isinstance(names, list) else []


def _remember(root: Path, name: str) -> None:
    make_private(root)
    (root / REMEMBERED).write_text(json.dumps(sorted({*_remembered(root), name})) + "\n", "utf-8")
