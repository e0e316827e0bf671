"""A real engine process with a scripted model, whose behaviour a control file sets.

``engine.py CONTROL ARGUMENTS``. The control file contains ``ready``, a signal that kills the process before it listens
(``early SIGKILL``) or while it loads (``SIGSEGV``), or ``damaged`` for a real bus error. Each process appends its pid
to the file ``begun`` in the same folder.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from fakes.scripted_model import ScriptedModel

from inference.server import app, process

CONTROL = Path(sys.argv[1])


def load(wanted, report) -> dict[str, ScriptedModel]:
    """Replace ``load_models``."""
    word = CONTROL.read_text()
    if word == "damaged":
        _read_truncated_mapping()
    elif word != "ready":
        os.kill(os.getpid(), signal.Signals[word])
    return {wanted.completion: ScriptedModel(["1", "2"])}


def _read_truncated_mapping() -> None:
    """Cause a real SIGBUS: read a mapped file that was truncated, like a damaged library."""
    with CONTROL.with_name("library").open("wb+") as file:
        file.truncate(1 << 20)
        mapped = mmap.mmap(file.fileno(), 1 << 20)
        file.truncate(0)
        mapped[1 << 19]


if __name__ == "__main__":
    with CONTROL.with_name("begun").open("a") as begun:
        begun.write(f"{os.getpid()}\n")
    first, _, name = CONTROL.read_text().partition(" ")
    if first == "early":
        os.kill(os.getpid(), signal.Signals[name])
    app.HEARTBEAT_SECONDS = 0.1
    process.load_models = load  # type: ignore[assignment]
    sys.exit(process.main(sys.argv[2:]))
