"""A real engine process; a test's control file says how it starts, loads and answers.

``engine.py CONTROL ARGUMENTS``: the control file holds one word: ``ready``, a signal that ends the process before it
listens (``early SIGKILL``) or while it loads (``SIGSEGV``), or ``damaged`` for a real bus error. Each process adds its
number to a file beside, ``begun``.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from fakes.answerer import ScriptedAnswerer

from inference.server import app
from inference.server import process as engine

CONTROL = Path(sys.argv[1])


def load(wanted, tell) -> dict[str, ScriptedAnswerer]:
    """In place of ``load_models``."""
    word = CONTROL.read_text()
    if word == "damaged":
        _read_what_was_cut_off()
    elif word != "ready":
        os.kill(os.getpid(), signal.Signals[word])
    return {wanted.completion: ScriptedAnswerer(["1", "2"])}


def _read_what_was_cut_off() -> None:
    """As a library does whose file another process shortens: a real SIGBUS."""
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
    app.BEAT_SECONDS = 0.1
    engine.load_models = load  # type: ignore[assignment]
    sys.exit(engine.main(sys.argv[2:]))
