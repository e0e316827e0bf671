"""Licences: shown before the first pull, accepted once for all models under them, and recorded beside the models.

Torch-free.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from inference.download.checkpoint_source import PullError
from inference.system.files import make_private_folder

OPEN_LICENCES = frozenset(
    ["apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "cc0-1.0", "cc-by-4.0", "unlicense"]
)
"""Licences, by SPDX id, that need no acceptance."""

ACCEPTED_FILE = ".accepted-licences.json"


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence of a model.

    Attributes:
        name: SPDX id or common name.
        url: address of its text; empty if the licence is unknown, which needs no acceptance.
        policy_url: address of its acceptable use policy, or None.
    """

    name: str
    url: str
    policy_url: str | None = None


def require_acceptance(
    licence: Licence, root: Path, console: Console, *, accepted: bool, ask: Callable[[], bool]
) -> None:
    """Show ``licence`` and require its acceptance, unless it is unknown, open or was accepted before.

    Args:
        licence: the licence of the model to pull.
        root: folder in which acceptance is recorded.
        console: the licence is shown here.
        accepted: the user accepted it on the command line.
        ask: returns True if the user accepts it now.

    Raises:
        PullError: the licence was not accepted.
    """
    if not licence.url or licence.name.lower() in OPEN_LICENCES or licence.name in _accepted(root):
        return
    policy = f" (acceptable use policy: {licence.policy_url})" if licence.policy_url else ""
    console.print(f"This model is under the licence: {licence.name}, {licence.url}{policy}", markup=False)
    if not accepted and not ask():
        raise PullError("The licence was not accepted, so nothing was pulled. Add --accept-licence to accept it.")
    _record(root, licence.name)


def ask_terminal(console: Console) -> bool:
    """Ask the user at the terminal. Return False if standard input is not a terminal."""
    if not sys.stdin.isatty():
        return False
    console.print("Do you accept it? [y/N] ", end="", markup=False)
    return input().strip().lower() in ("y", "yes")


def _accepted(root: Path) -> list[str]:
    try:
        names = json.loads((root / ACCEPTED_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return names if isinstance(names, list) else []


def _record(root: Path, name: str) -> None:
    make_private_folder(root)
    (root / ACCEPTED_FILE).write_text(json.dumps(sorted({*_accepted(root), name})) + "\n", "utf-8")
