"""A real Emacs with eglot: list entries instead of inline completion, and code actions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from editors.neovim.engines import Engine, engine_in_a_thread
from fakes.scripted_model import block

pytestmark = [pytest.mark.editors]

SCRIPT = Path(__file__).with_name("eglot.el")
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    if not shutil.which("emacs"):
        pytest.skip("Emacs is not installed (Debian: emacs-nox, elpa-eglot); `make test-editors` does it")
    with engine_in_a_thread() as running:
        yield running


def emacs(folder: Path, text: str, task: str) -> str:
    """Return the buffer's text after the task."""
    file = folder / "a.py"
    file.write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    command = ["emacs", "--batch", "-l", str(SCRIPT), sys.executable, str(file), task]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180)
    found = re.search("<<<(.*)>>>", done.stdout, re.DOTALL)
    assert found is not None, done.stderr
    return found[1]


def test_suggestion_is_a_completion_list_entry(engine, tmp_path):
    engine.model.says({"x = ": "compute(1)"})
    assert emacs(tmp_path, "x = \ny = 2\n", "complete") == "x = compute(1)\ny = 2\n"


def test_code_action_changes_the_buffer(engine, tmp_path):
    engine.model.says({})
    engine.model.answers = [block('def f(a):\n    """Return a."""\n    return a')]
    text = "def f(a):\n    return a\n"
    assert emacs(tmp_path, text, "Document 'f'") == 'def f(a):\n    """Return a."""\n    return a\n'
