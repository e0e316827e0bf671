"""Commit messages for staged changes, from the button in VS Code's Git view, in real repositories."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.vscode_window import VscodeWindow, becomes
from support.waiting import until

pytestmark = [pytest.mark.editors, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

GIT = "const git = (await vscode.extensions.getExtension('vscode.git').activate()).getAPI(1);"


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def repositories(window: VscodeWindow, folder: Path) -> AsyncIterator[list[Path]]:
    """Two repositories in the Git view, each with a staged file."""
    found = [folder / name for name in ("one", "two")]
    for at in found:
        at.mkdir()
        (at / f"{at.name}.py").write_text(f"{at.name} = 1\n")
        git(at, "init", "-q")
        git(at, "add", ".")
        await window.host(f"{GIT} await git.openRepository(vscode.Uri.file({json.dumps(str(at))}));")
    await window.command("workbench.view.scm")
    yield found
    await window.command("workbench.view.explorer")


async def click(window: VscodeWindow, at: Path) -> None:
    """Click the button in the row of a repository."""
    row = f".scm-view .monaco-list-row:has(.scm-provider):has-text('{at.name}')"
    await window.do("hover", row)
    await window.do("click", f"{row} .action-label[aria-label*='Write Commit Message']")


async def box(window: VscodeWindow, at: Path, text: str | None = None) -> str:
    """Return the text of a repository's message box, after setting it to `text` if given."""
    put = "" if text is None else f"found.inputBox.value = {json.dumps(text)};"
    return await window.host(
        f"""{GIT} const found = git.repositories.find((one) => one.rootUri.fsPath === {json.dumps(str(at))});
        {put} return found.inputBox.value;"""
    )


async def test_message_is_for_the_chosen_repository(window, engine, repositories):
    engine.pieces = ["Add ", "a number"]
    one, other = repositories
    await click(window, other)
    await becomes(lambda: box(window, other), "Add a number")
    assert await box(window, one) == ""
    asked = engine.asked[-1][0][-1].content
    assert "+two = 1" in asked and "one = 1" not in asked
    await box(window, other, "")


async def test_stopping_restores_the_old_message(window, engine, service, repositories):
    engine.pieces, engine.hold = ["Add ", "a number"], True
    one, _ = repositories
    await box(window, one, "by hand")
    await click(window, one)
    assert await asyncio.to_thread(engine.began.wait, 20)
    await becomes(lambda: box(window, one), "Add ")
    await window.answer("Cancel")
    await becomes(lambda: box(window, one), "by hand")
    await until(lambda: service.service.requests.held == 0)
    engine.go.set()
    await until(lambda: any(line.startswith("closed ") for line in engine.log))
    assert await box(window, one) == "by hand"
    await box(window, one, "")


async def test_empty_index_is_reported(window, engine, repositories):
    one, _ = repositories
    git(one, "rm", "-q", "--cached", "-r", ".")
    await box(window, one, "by hand")
    await click(window, one)
    await window.tells("Nothing is staged")
    assert (await box(window, one), engine.asked) == ("by hand", [])
    await box(window, one, "")
    await window.command("notifications.clearAll")
