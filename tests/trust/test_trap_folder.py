"""Opening a folder never runs its code, whatever modules lie in it. Starts the real programs with the folder as cwd."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from e2e_window import window
from engine_processes import engines
from support.trap_folder import TrapFolder, lay_traps

PROGRAM = str(Path(sys.executable).with_name("codellama-ls"))

SOURCE = "def add(a, b):\n    return \n"


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrapFolder:
    """The current folder."""
    laid = lay_traps(tmp_path / "repository", tmp_path / "sprung")
    (laid.root / "adding.py").write_text(SOURCE)
    monkeypatch.chdir(laid.root)
    return laid


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments], capture_output=True, text=True, timeout=300, env={**os.environ, **environment}
    )


def test_traps_spring_when_python_looks_in_the_folder(trap: TrapFolder):
    """Otherwise the other tests could not fail."""
    subprocess.run([sys.executable, "-m", "inference"], capture_output=True, timeout=60)
    assert trap.sprung()


@pytest.mark.starter
@pytest.mark.slow
async def test_window_starts_its_own_engine(trap: TrapFolder, runtime: Path, starter_folder: Path):
    uri = (trap.root / "adding.py").as_uri()
    settings = {"engine": {"graceSeconds": 0.2}}
    async with window(settings=settings, command=[PROGRAM, "--stdio"], root=trap.root.as_uri()) as editor:
        editor.open(SOURCE, uri)
        assert await editor.inline(1, 11, uri=uri)
        [engine] = engines(runtime)
        folders = {psutil.Process(editor.pid).cwd(), engine.cwd()}
    await asyncio.to_thread(engine.wait, 60)
    assert trap.sprung() == []
    assert folders == {"/"}


@pytest.mark.starter
@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["doctor"], "torch"),
        (["complete", "adding.py:2:12"], "a"),
        (["tune", ".", "--model", "starter", "--dry-run"], ""),
        (["models"], "starter"),
        (["engine", "status"], "engine"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_command_runs_in_the_folder(
    trap: TrapFolder, runtime: Path, starter_folder: Path, arguments: list[str], says: str
):
    done = run(*arguments)
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert trap.sprung() == []


def test_pull_runs_its_own_pip(trap: TrapFolder, runtime: Path, tmp_path: Path):
    done = run(
        "pull", "starter", CODELLAMA_LS_MODELS=str(tmp_path / "models"), PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path)
    )
    assert done.returncode == 1
    assert "No matching distribution" in done.stderr + done.stdout
    assert trap.sprung() == []
