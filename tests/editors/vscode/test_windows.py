"""The status bar, commands, a killed server and a second window in a real VS Code."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from support.vscode_window import GHOST, START, STATUS, becomes
from support.waiting import until

pytestmark = [pytest.mark.editors, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

CODE = "def total(values):\n    result =\n    return result\n"
HOVER = ".monaco-hover:visible"


def servers(folder: str) -> list[psutil.Process]:
    """Return the language servers of these windows."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        about = process.info["cmdline"] or []
        if about[-2:] == ["lsp_server", "--stdio"] and (process.info["environ"] or {}).get("XDG_RUNTIME_DIR") == folder:
            found.append(process)
    return found


async def test_status_bar_follows_the_engine(window, service):
    board = service.service.board
    await window.status("Code Llama")
    board.set(phase="loading", progress=40, message="loading weights")
    await window.status("Code Llama 40 %")
    board.set(phase="ready", message="ready")
    await window.status("Code Llama")
    board.set(phase="failed", message="The model 'x' is not installed. Run `codellama-ls pull x`.")
    await window.status("Code Llama: no model")
    board.set(phase="ready", message="ready")
    await window.command("codellama.restart")
    await window.status("Code Llama")


async def test_hover_shows_model_and_accepted_completions(window):
    async def told() -> list[bool]:
        """Return the parts present in the hover. It is empty briefly while VS Code redraws it."""
        await window.do("hover", STATUS)
        shown = "\n".join(await window.texts(HOVER))
        return [part in shown for part in ("Model: starter", "Ready.", "Today:", "Why no suggestion?")]

    await becomes(told, [True] * 4)
    await window.press("Escape")


async def test_disabled_in_settings_shows_no_completion(window, folder, engine):
    update = "await vscode.workspace.getConfiguration('codellama.completion').update('enabled', {}, true)"
    await window.host(update.format("false"))
    await window.status("Code Llama: off")
    await window.open(folder / "settings.py", CODE, 1, 12)
    await window.command("editor.action.inlineSuggest.trigger")

    async def last() -> tuple[str, str]:
        records = await window.ask("codellama/trace")
        return (records[-1]["uri"].rpartition("/")[2], records[-1]["result"]) if records else ("", "")

    await becomes(last, ("settings.py", "off"))
    await window.command("codellama.why")
    await window.see(".notification-list-item-message:has-text('completion is switched off in the settings')")
    await window.command("notifications.clearAll")
    await window.host(update.format("undefined"))
    await window.status("Code Llama")


async def test_statistics_and_requests_open_as_pages(window):
    await window.command("codellama.stats")
    await becomes(
        lambda: window.host("return vscode.window.tabGroups.activeTabGroup.activeTab?.label"), "Preview Statistics.md"
    )
    await window.close_editors()


async def test_killed_server_is_restarted(window, folder, engine, home):
    engine.pieces = ["sum(values)"]
    (before,) = servers(str(home))
    os.kill(before.pid, signal.SIGKILL)

    async def another() -> bool:
        return any(process.pid != before.pid for process in servers(str(home)))

    await becomes(another, True, START)
    await window.see(f"{STATUS} .codicon-sparkle")
    await window.open(folder / "again.py", CODE, 1, 12)
    await window.write(" ")
    await window.shows("sum(values)")


async def test_two_windows_share_one_engine(window, code, home, service, engine, folder):
    engine.pieces = ["max(values)"]
    (home / "other").mkdir()
    second = await code.window(home / "other")
    await second.status("Code Llama")
    await until(lambda: service.service.leases.held - service.service.requests.held == 2)
    for one, where in ((second, home / "other"), (window, folder)):
        await one.open(where / "two.py", CODE, 1, 12)
        await one.write(" ")
        await one.shows("max(values)")
    await second.do("close")


async def test_missing_server_path_is_reported(window, folder, engine):
    path = await window.host("return vscode.workspace.getConfiguration('codellama.server').get('path')")
    update = "await vscode.workspace.getConfiguration('codellama.server').update('path', {!r}, true)"
    await window.host(update.format("/nowhere/codellama-ls"))
    await window.see(f"{STATUS}.error-kind")
    await window.host(update.format(path))
    await window.open(folder / "back.py", CODE, 1, 12)
    await window.status("Code Llama")
    engine.pieces = ["min(values)"]
    await window.see(f"{STATUS} .codicon-sparkle")
    await window.write(" ")
    await window.see(GHOST)
