"""`make gpu PYTHON=...` uses that interpreter unchanged: it reports missing packages and installs none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.skipif(shutil.which("make") is None, reason="needs make"),
    pytest.mark.skipif(not (ROOT / "Makefile").exists(), reason="needs the source tree"),
]


def make_gpu(tmp_path: Path, *options: str) -> tuple[int, str, list[str]]:
    """Return the exit status, stderr, and the arguments of every start of the interpreter."""
    log, python = tmp_path / "log", tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> "{log}"\nexec "{sys.executable}" {" ".join(options)} "$@"\n')
    python.chmod(0o755)
    venv = tmp_path / "venv"
    command = ["make", "gpu", f"PYTHON={python}", f"VENV={venv}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert not venv.exists()
    return done.returncode, done.stderr, log.read_text().splitlines()


def test_missing_packages_are_reported_and_not_installed(tmp_path: Path) -> None:
    """Without site-packages, only the standard library is available."""
    status, told, started = make_gpu(tmp_path, "-I", "-S")
    assert status != 0
    assert "has no torch, transformers, pytest" in told
    assert "install them there, or run `make gpu` without PYTHON" in told
    assert "Traceback" not in told
    assert started == ["tests/gpu/run.py"]


def test_machine_without_a_gpu_is_reported_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    status, told, started = make_gpu(tmp_path)
    assert status != 0
    assert "finds no CUDA device on this machine: run `make gpu` on one with an NVIDIA GPU." in told
    assert "Traceback" not in told
    assert started == ["tests/gpu/run.py"]
