"""Run the tests that need a CUDA device in at most five minutes, without installing anything: `make gpu`.

The benchmark runs first, so that its table is printed whatever happens later. Only the standard library is imported
until the other packages are found.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = "tests/gpu/test_bench.py"
SECONDS = 290.0
"""Of the five minutes, the rest is for Python to start and for pytest to end."""

NEEDED = {
    "torch": "torch", "transformers": "transformers", "pytest": "pytest", "numpy": "numpy", "accelerate": "accelerate",
    "safetensors": "safetensors", "tokenizers": "tokenizers", "sentencepiece": "sentencepiece", "filelock": "filelock",
    "platformdirs": "platformdirs", "psutil": "psutil", "gguf": "gguf",
}  # fmt: skip
"""Modules without which no test runs, and the packages they come from. Tests that need more skip and say what."""


def main() -> int:
    """Check the interpreter and the device, then run the tests."""
    if problem := _missing() or _without_device():
        sys.stderr.write(f"{problem}\n")
        return 2
    end = time.monotonic() + SECONDS
    others = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests/gpu").glob("test_*.py"))
    others.remove(TABLE)
    statuses = [_pytest([TABLE], end), _pytest(others, end)]
    return max(statuses)


def _missing() -> str:
    if sys.version_info < (3, 11):  # noqa: UP036 (the user names it)
        return f"{sys.executable} is Python {sys.version.split()[0]}: name one of version 3.11 or newer as PYTHON."
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if not missing:
        return ""
    return (
        f"{sys.executable} has no {', '.join(missing)}: install them there, or run `make gpu` without PYTHON, "
        "which installs all that it needs under .venv."
    )


def _without_device() -> str:
    import torch

    if torch.cuda.is_available():
        return ""
    return f"torch {torch.__version__} finds no CUDA device on this machine: run `make gpu` on one with an NVIDIA GPU."


def _pytest(paths: Sequence[str], end: float) -> int:
    """Run tests until ``end``, then stop them and their processes. Return its status, or 0 if no test was collected."""
    left = end - time.monotonic()
    named = ", ".join(paths)
    if left <= 0:
        sys.stderr.write(f"No time was left for {named}: run pytest on them.\n")
        return 1
    command = [sys.executable, "-m", "pytest", "-s", "-m", "gpu", "--noconftest", *paths]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ | {"PYTHONPATH": path}
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True) as running:
        try:
            status = running.wait(left)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as stopped:
            os.killpg(running.pid, signal.SIGKILL)
            if isinstance(stopped, KeyboardInterrupt):
                raise
            sys.stderr.write(f"Stopped after five minutes, in the middle of {named}: run pytest on them.\n")
            return 1
    return 0 if status == 5 else status


if __name__ == "__main__":
    sys.exit(main())
