"""Choosing and downloading models in a real VS Code from a test hub; doctor and logs; a real engine.

The hub's Code Llama 7B is a small model with random weights. It is downloaded and loaded, but gets no requests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from fakes.hub import FakeHub
from support.code_server import program
from support.engine_processes import engines
from support.vscode_window import START, STATUS, VscodeWindow, becomes
from support.waiting import until

from inference.models import store
from inference.models.catalog import CATALOG

pytestmark = [pytest.mark.editors, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

ID = "codellama-7b"
HOVER = ".monaco-hover:visible"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def runtime(home: Path, window: VscodeWindow) -> AsyncIterator[Path]:
    """The runtime folder of a language server with its own engine and without a model."""
    from fakes.tiny_llama import save_checkpoint

    own, published = home / "models", home / "repository"
    own.mkdir(0o700)
    published.mkdir()
    save_checkpoint(published, sentinels=True)
    path = await window.host("return vscode.workspace.getConfiguration('codellama.server').get('path')")
    pinned = CATALOG[ID].revision
    assert pinned is not None
    with FakeHub(published, CATALOG[ID].hub, older={pinned}).serving() as hub:
        env = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "0", "HF_HOME": f"{own}/hub"}
        env |= {"XDG_RUNTIME_DIR": str(own), store.FOLDER_VARIABLE: f"{own}/installed"}
        await window.setting("codellama.server.path", str(program(own, **env)))
        await window.status("Code Llama: no model", START)
        yield own / "codellama-ls"
    await window.setting("codellama.engine.model", None)
    await window.setting("codellama.server.path", path)
    for engine in engines(own / "codellama-ls"):
        engine.terminate()  # without the grace period of a minute
    await until(lambda: not engines(own / "codellama-ls"), START)
    await window.see(f"{STATUS} .codicon-sparkle", START)


async def terminal(window: VscodeWindow, text: str) -> None:
    """Wait for this text in the terminal, ignoring line breaks."""

    async def shown() -> bool:
        rows = await window.texts(".terminal-wrapper.active .xterm-rows")
        return "".join(text.split()) in "".join("".join(rows).split())

    await becomes(shown, True, START)


async def closes_terminals(window: VscodeWindow) -> None:
    """Close all terminals. Text of an old one would be mistaken for the next one's."""
    await window.command("workbench.action.terminal.killAll")
    await window.gone(".terminal-wrapper.active")


async def pick(window: VscodeWindow, label: str) -> None:
    """Pick an entry of a list that a program fills."""
    await window.see(f".quick-input-widget .monaco-list-row:has-text('{label}')", START)
    await window.choose(label)


async def asked_for_licence(window: VscodeWindow) -> None:
    await window.command("codellama.pullModel")
    await pick(window, ID)
    await terminal(window, "Do you accept it? [y/N]")
    await terminal(window, "This model is under the licence: Llama 2 Community License")
    await window.see(".terminal-wrapper.active .xterm.focus")


async def test_pull_is_cancelled_in_its_terminal(window, runtime):
    await asked_for_licence(window)
    await window.press("Control+c")
    await terminal(window, "Nothing was installed")
    assert not (runtime.parent / "installed" / ID).exists()
    await window.status("Code Llama: no model")
    await closes_terminals(window)


async def test_model_is_pulled_after_its_licence_and_used(window, runtime):
    await asked_for_licence(window)
    await window.write("y\n")
    await window.tells("Code Llama 7B is installed.", START)
    assert (runtime.parent / "installed" / ID).exists()
    await window.answer("Use It")
    await window.see(f"{STATUS} .codicon-sparkle", START)
    await window.status("Code Llama")
    await window.command("notifications.clearAll")

    async def told() -> bool:
        await window.do("hover", STATUS)
        return f"Model: {ID}" in "\n".join(await window.texts(HOVER))

    await becomes(told, True)
    await window.press("Escape")


async def test_chosen_model_is_loaded_by_the_engine(window, runtime):
    (before,) = engines(runtime)
    await window.command("codellama.chooseModel")
    await window.choose("Suggestions")
    await pick(window, ID)
    await until(lambda: {one.pid for one in engines(runtime)} - {before.pid}, START)
    await window.see(f"{STATUS} .codicon-sparkle", START)


async def test_doctor_runs_in_a_terminal(window, runtime):
    await window.command("codellama.doctor")
    await window.see(".terminal-wrapper.active .xterm.focus", START)
    await terminal(window, "torch")
    await closes_terminals(window)


async def test_both_logs_can_be_opened(window, runtime):
    await window.command("codellama.engineLogs")
    label = "return vscode.window.tabGroups.activeTabGroup.activeTab?.label"
    await becomes(lambda: window.host(label), "Preview Log of the engine.md", START)
    found = await window.host(
        """const page = vscode.Uri.from({ scheme: "codellama-page", path: "/Log of the engine.md" });
        return (await vscode.workspace.openTextDocument(page)).getText();"""
    )
    title, *lines = [line for line in found.splitlines() if line and not line.startswith("```")]
    written = "".join(path.read_text() for path in runtime.parent.rglob("*.log"))
    assert title == "# Log of the engine" and lines and all(line in written for line in lines), found
    await window.close_editors()
    await window.command("codellama.logs")
    shown = """const documents = vscode.window.visibleTextEditors.map(({ document }) => document);
        const log = documents.find(({ uri }) => uri.scheme === "output");
        return log?.getText().includes("--stdio") ?? false;"""
    await becomes(lambda: window.host(shown), True)
    await window.command("workbench.action.closePanel")
