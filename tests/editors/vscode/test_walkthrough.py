"""The extension's walkthrough: its steps and the commands of their buttons."""

from __future__ import annotations

import json
import re

import pytest
from support.vscode_window import CLIENT, START, STATUS, VscodeWindow, becomes

pytestmark = [pytest.mark.editors, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

(WALKTHROUGH,) = json.loads((CLIENT / "package.json").read_text())["contributes"]["walkthroughs"]
STEP = ".getting-started-step"
PICKED = ".quick-input-widget .monaco-list-row"
SHOWN = {
    "server": f"{PICKED}:has-text('From a folder of wheels')",
    "model": f"{PICKED}:has-text('starter')",
    "type": ".notification-list-item-message:has-text('No suggestion was requested in this document yet')",
    "edit": ".notification-list-item-message:has-text('Open a document first')",
    "chat": ".interactive-session .chat-input-container",
}
"""The result of each step's command while no document is open."""


async def test_steps_are_checked_when_done(window, service):
    """Opened while no server runs. (VS Code never ticks steps done before a walkthrough was first opened.)"""
    path = await window.host("return vscode.workspace.getConfiguration('codellama.server').get('path')")
    await window.setting("codellama.server.path", "/nowhere/codellama-ls")
    await window.see(f"{STATUS}.error-kind")
    await window.command("workbench.action.openWalkthrough", f"codellama-ls.codellama-ls#{WALKTHROUGH['id']}", False)
    await window.lists(f"{STEP} .step-title", [step["title"] for step in WALKTHROUGH["steps"]])
    assert await done(window) == []
    await window.setting("codellama.server.path", path)
    await becomes(lambda: done(window), ["server", "model"], START)
    await window.close_editors()


async def done(window: VscodeWindow) -> list[str]:
    """Return the ticked steps."""
    find = f"[...document.querySelectorAll('{STEP} .codicon-getting-started-step-checked')]"
    names = await window.do("evaluate", f"{find}.map((one) => one.dataset.doneStepId)")
    return [name.rpartition("#")[2] for name in names]


async def test_commands_of_all_steps_work(window, engine):
    """Commands run without the page, whose buttons move while clicked. The test above checks the buttons."""
    await window.close_editors()
    for step in WALKTHROUGH["steps"]:
        assert (CLIENT / step["media"]["markdown"]).read_text().startswith("# "), "the page beside it"
        (command,) = re.findall(r"\(command:([^)?]+)", step["description"])
        await window.command(command)
        await window.see(SHOWN[step["id"]], START)
        await window.command("workbench.action.closeQuickOpen")
        await window.gone(PICKED)
        await window.host("await vscode.commands.executeCommand('notifications.clearAll')")
    assert list(SHOWN) == [step["id"] for step in WALKTHROUGH["steps"]]
    await window.command("workbench.action.closeAuxiliaryBar")
