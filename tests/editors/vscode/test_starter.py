"""A real VS Code with the starter: the language server starts the real engine."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from support.code_server import program
from support.engine_processes import engines
from support.trap_folder import TrapFolder, lay_traps
from support.vscode_window import START, STATUS, VscodeWindow
from support.waiting import until

pytestmark = [
    pytest.mark.editors,
    pytest.mark.slow,
    pytest.mark.starter,
    pytest.mark.asyncio(loop_scope="session"),
]

CODE = "def add(a, b):\n    return\n\n\nprint(add(1, 2))\n"
MESSAGES = ".notifications-center .notification-list-item"


@pytest.fixture(scope="module")
def trap(home: Path, folder: Path) -> Iterator[TrapFolder]:
    """Fill the window's folder with traps for this module's tests."""
    before = set(folder.iterdir())
    yield lay_traps(folder, home / "sprung")
    for path in set(folder.iterdir()) - before:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def runtime(home: Path, trap: TrapFolder, window: VscodeWindow, starter_folder: Path) -> AsyncIterator[Path]:
    """The runtime folder of a language server with its own engine and the starter."""
    del starter_folder, trap  # the starter is installed; the traps are in the folder before the engine starts
    own = home / "own"
    own.mkdir(0o700)
    path = await window.host("return vscode.workspace.getConfiguration('codellama.server').get('path')")
    update = "await vscode.workspace.getConfiguration('codellama.server').update('path', {}, true)"
    await window.host(update.format(json.dumps(str(program(own, XDG_RUNTIME_DIR=str(own))))))
    runtime = own / "codellama-ls"
    await until(lambda: engines(runtime), START)
    await window.see(f"{STATUS} .codicon-sparkle", START)
    yield runtime
    await window.host(update.format(json.dumps(path)))
    await until(lambda: not engines(runtime), START)
    await window.see(f"{STATUS} .codicon-sparkle", START)


async def takes_what_is_shown(window: VscodeWindow, file: Path) -> None:
    await window.open(file, CODE, 1, 10)
    await window.write(" ")
    await window.shows("a + b")
    await window.press("Tab")
    await window.holds(CODE.replace("return", "return a + b"))


async def test_starter_completion_is_shown_and_inserted_exactly(window, folder, runtime):
    await takes_what_is_shown(window, folder / "starter.py")


async def test_opened_folder_supplies_no_code(runtime, trap):
    """The folder had a trap for every imported module when the server and its engine started."""
    [engine] = engines(runtime)
    assert (engine.cwd(), psutil.Process(engine.ppid()).cwd()) == ("/", "/")
    assert trap.sprung() == []


async def test_killed_engine_returns_without_an_error(window, folder, runtime):
    """The next suggestion comes from a new engine. The crash is reported once, as information."""
    await takes_what_is_shown(window, folder / "before.py")
    await window.command("notifications.clearAll")
    (killed,) = engines(runtime)
    killed.send_signal(signal.SIGKILL)
    await until(lambda: {one.pid for one in engines(runtime)} - {killed.pid}, START)
    await window.see(f"{STATUS} .codicon-sparkle", START)
    await takes_what_is_shown(window, folder / "after.py")
    await window.command("notifications.showList")
    await window.lists(
        f"{MESSAGES}-message",
        [
            "codellama-ls: The engine ended unexpectedly and was started again: it was killed by SIGKILL, as when the "
            "system runs out of memory. See `codellama-ls engine logs`."
        ],
    )
    assert await window.texts(f"{MESSAGES} .codicon-error") == []
    await window.command("notifications.clearAll")
