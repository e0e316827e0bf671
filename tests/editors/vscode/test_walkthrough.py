"""The first minute with the extension: the walkthrough's steps, and what their buttons do."""

from __future__ import annotations

import json

import pytest
from vscode_window import CLIENT, START, STATUS, CodeWindow, becomes

pytestmark = [pytest.mark.editors, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

(WALKTHROUGH,) = json.loads((CLIENT / "package.json").read_text())["contributes"]["walkthroughs"]
STEP = ".getting-started-step"
PICKED = ".quick-input-widget .monaco-list-row"
SHOWN = {
    "server": f"{PICKED}:has-text('From a folder of wheels')",
    "model": f"{PICKED}:has-text('starter')",
    "type": ".notification-list-item-message:has-text('Nothing has been asked for in this document yet')",
    "edit": ".notification-list-item-message:has-text('Open a document first')",
    "chat": ".interactive-session .chat-input-container",
}
"""What each step's button brings while no document is open."""


async def test_steps_are_ticked_off_as_soon_as_they_are_done(window, service):
    """Opened while no server runs. (VS Code never ticks off what was done before the first look at a walkthrough.)"""
    path = await window.host("return vscode.workspace.getConfiguration('codellama.server').get('path')")
    await window.setting("codellama.server.path", "/nowhere/codellama-ls")
    await window.see(f"{STATUS}.error-kind")
    await window.command("workbench.action.openWalkthrough", f"codellama-ls.codellama-ls#{WALKTHROUGH['id']}", False)
    await window.lists(f"{STEP} .step-title", [step["title"] for step in WALKTHROUGH["steps"]])
    assert await done(window) == []
    await window.setting("codellama.server.path", path)
    await becomes(lambda: done(window), ["server", "model"], START)
    await window.close_editors()


async def done(window: CodeWindow) -> list[str]:
    """The steps that are ticked off."""
    find = f"[...document.querySelectorAll('{STEP} .codicon-getting-started-step-checked')]"
    names = await window.do("evaluate", f"{find}.map((one) => one.dataset.doneStepId)")
    return [name.rpartition("#")[2] for name in names]


async def test_each_steps_button_does_what_it_says(window, engine):
    await window.close_editors()
    await window.do("resize", 1400, 640)  # only a wide window has room for the pages beside the steps
    await window.command("workbench.action.openWalkthrough", f"codellama-ls.codellama-ls#{WALKTHROUGH['id']}", False)
    await window.lists(f"{STEP} .step-title", [step["title"] for step in WALKTHROUGH["steps"]])
    for step in WALKTHROUGH["steps"]:
        here = f"{STEP}[data-step-id$='#{step['id']}']"
        await window.do("click", f"{here} .step-title")
        await window.see(f"{here}.expanded")
        assert (CLIENT / step["media"]["markdown"]).read_text().startswith("# "), "the page beside it"
        if step["id"] == "server":
            await window.keep("walkthrough", 1400)
        await window.do("click", f"{here} .monaco-button")
        await window.see(SHOWN[step["id"]], START)
        await window.press("Escape")
        await window.command("notifications.clearAll")
    assert list(SHOWN) == [step["id"] for step in WALKTHROUGH["steps"]]
    await becomes(lambda: done(window), list(SHOWN))
    await window.do("resize", 1000, 640)
    await window.close_editors()
    await window.command("workbench.action.closeAuxiliaryBar")
