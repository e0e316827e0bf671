"""The first minute with the extension: the walkthrough's steps, their pages and buttons."""

from __future__ import annotations

import json
import re

import pytest
from vscode_window import CLIENT, START, STATUS, CodeWindow, becomes

pytestmark = [pytest.mark.editors, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

(WALKTHROUGH,) = json.loads((CLIENT / "package.json").read_text())["contributes"]["walkthroughs"]
STEP = ".getting-started-step"


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
    await window.command("workbench.action.closeAllEditors")


async def done(window: CodeWindow) -> list[str]:
    """The steps that are ticked off."""
    find = f"[...document.querySelectorAll('{STEP} .codicon-getting-started-step-checked')]"
    names = await window.do("evaluate", f"{find}.map((one) => one.dataset.doneStepId)")
    return [name.rpartition("#")[2] for name in names]


async def test_each_step_has_its_page_and_a_button_for_a_command_that_is_there(window):
    known = await window.host("return vscode.commands.getCommands(true)")
    for step in WALKTHROUGH["steps"]:
        assert (CLIENT / step["media"]["markdown"]).read_text().startswith("# ")
        (command,) = re.findall(r"\(command:([^)?]+)", step["description"])
        assert command in known
