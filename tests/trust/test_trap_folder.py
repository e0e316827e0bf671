"""Opening a folder never runs its code: the real programs in a hostile repository full of traps."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.editor_session import editor_session
from support.engine_processes import engines
from support.hostile_repository import HostileRepository, hostile_repository, working_in
from support.trap_folder import lay_traps

PROGRAM = str(Path(sys.executable).with_name("codellama-ls"))

SOURCE = "def add(a, b):\n    return \n"


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[HostileRepository]:
    """A hostile repository as the current folder, with a relative entry in PATH that names it."""
    made = hostile_repository(tmp_path)
    lay_traps(made.root, made.witness)
    (made.root / "adding.py").write_text(SOURCE)
    with working_in(made):
        yield made


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments], capture_output=True, text=True, timeout=300, env={**os.environ, **environment}
    )


def test_traps_work_if_python_imports_from_the_folder(hostile: HostileRepository):
    """Otherwise the other tests could not fail."""
    subprocess.run([sys.executable, "-m", "inference"], capture_output=True, timeout=60)
    assert list(hostile.witness.iterdir())


@pytest.mark.starter
@pytest.mark.slow
async def test_editor_session_starts_the_installed_engine(
    hostile: HostileRepository, runtime: Path, starter_folder: Path
):
    uri = (hostile.root / "adding.py").as_uri()
    settings = {"engine": {"graceSeconds": 0.2}}
    async with editor_session(settings=settings, command=[PROGRAM, "--stdio"], root=hostile.root.as_uri()) as editor:
        editor.open(SOURCE, uri)
        [(text, _)] = await editor.inline(1, 11, uri=uri)
        [engine] = engines(runtime)
        folders = {psutil.Process(editor.pid).cwd(), engine.cwd()}
    await asyncio.to_thread(engine.wait, 60)
    hostile.assert_untouched(text)
    assert folders == {"/"}


@pytest.mark.starter
@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
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
    hostile: HostileRepository, runtime: Path, starter_folder: Path, arguments: list[str], expected: str
):
    done = run(*arguments)
    assert expected in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    hostile.assert_untouched(done.stdout, done.stderr)


def test_pull_runs_its_own_pip(hostile: HostileRepository, runtime: Path, tmp_path: Path):
    done = run(
        "pull", "starter", CODELLAMA_LS_MODELS=str(tmp_path / "models"), PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path)
    )
    assert done.returncode == 1
    assert "No matching distribution" in done.stderr + done.stdout
    hostile.assert_untouched(done.stdout, done.stderr)
