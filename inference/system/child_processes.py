"""Start child processes so that the opened folder cannot supply their code. Torch-free.

``python -m`` and ``python -c`` put the working directory in front of ``sys.path``, and an editor's working directory is
usually the opened folder. A repository with an ``inference/`` or ``uvicorn.py`` would then run its own code. So every
child Python is started with ``-P`` (PYTHONSAFEPATH, Python 3.11) and in a folder that no repository writes to, which
also covers relative entries of PATH and PYTHONPATH.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import inference

NEUTRAL_FOLDER = Path(sys.executable).anchor
"""The working directory of child processes: the root of the file system, as for daemons (daemon(3))."""

SOURCE_FOLDER = Path(inference.__file__).resolve().parents[1]
"""The folder that this program's own packages are imported from."""


def python_module(name: str) -> tuple[str, ...]:
    """Return the command line that runs module ``name`` with this interpreter; arguments go after it."""
    return (sys.executable, "-P", "-m", name)


def search_path() -> str:
    """Return PATH without its relative and empty entries, which mean the working directory."""
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(entry for entry in entries if Path(entry).is_absolute())


def forget_working_directory() -> None:
    """Remove the working directory from ``sys.path``, unless this program itself lies there.

    It gets there through ``python -m lsp_server`` or an empty entry in PYTHONPATH.
    """
    here = Path.cwd()
    if here != SOURCE_FOLDER:
        sys.path[:] = [entry for entry in sys.path if Path(entry or ".").absolute() != here]


def leave_working_directory() -> None:
    """Change to ``NEUTRAL_FOLDER``, so that no relative name refers to the opened folder."""
    forget_working_directory()
    os.chdir(NEUTRAL_FOLDER)
