"""Code actions and edits by instruction in a real VS Code."""

from __future__ import annotations

import asyncio

import pytest
from fakes.scripted_model import block
from support.vscode_window import VscodeWindow
from support.waiting import until

pytestmark = [pytest.mark.editors, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

CODE = "def f(a):\n    x = foo\n    return a\n\n\nprint(f)\n"
GOOD = block("def f(a):\n    x = 1\n    return a + x")
LENSES = ".codelens-decoration a"
PREVIEW = ".part.panel .bulk-edit-panel, .bulk-edit-panel"
PROPOSED = ["Accept All 2", "Reject All", "Compare", "Change…"]
ONE = ["Accept", "Reject"]


async def ask_for(window: VscodeWindow, instruction: str) -> None:
    await window.command("codellama.editWithInstruction")
    await window.see(".quick-input-widget input")
    await window.write(instruction)
    await window.press("Enter")


async def test_edit_is_accepted_hunk_by_hunk(window, folder, engine):
    engine.answers = [GOOD]
    await window.open(folder / "edit.py", CODE, 1, 4)
    await ask_for(window, "add one")
    await window.lists(LENSES, [*PROPOSED, *ONE, *ONE])
    await window.keep("edit")
    await window.do("click", f"{LENSES}:text-is('Accept')")
    await window.holds(CODE.replace("foo", "1"))
    await window.lists(LENSES, ["Accept All 1", *PROPOSED[1:], *ONE])
    await window.do("click", f"{LENSES}:text-is('Reject')")
    await window.lists(LENSES, [])
    await window.holds(CODE.replace("foo", "1"))


async def test_keys_accept_the_nearest_hunk_and_all(window, folder, engine):
    engine.answers = [GOOD]
    await window.open(folder / "keys.py", CODE, 2, 4)
    await ask_for(window, "add one")
    await window.lists(LENSES, [*PROPOSED, *ONE, *ONE])
    await window.press("Control+Alt+y")
    await window.holds(CODE.replace("return a", "return a + x"))
    await window.lists(LENSES, ["Accept All 1", *PROPOSED[1:], *ONE])
    await window.press("Control+Alt+y")
    await window.holds(CODE.replace("return a", "return a + x").replace("foo", "1"))
    await window.lists(LENSES, [])


async def test_proposed_edit_moves_with_text_typed_above_it(window, folder, engine):
    engine.answers = [GOOD]
    await window.open(folder / "above.py", f"\n{CODE}", 2, 4)
    await ask_for(window, "add one")
    await window.lists(LENSES, [*PROPOSED, *ONE, *ONE])
    await window.host(
        """const edit = new vscode.WorkspaceEdit();
        edit.insert(vscode.window.activeTextEditor.document.uri, new vscode.Position(0, 0), "# a\\n# b\\n");
        await vscode.workspace.applyEdit(edit);"""
    )
    await window.lists(LENSES, [*PROPOSED, *ONE, *ONE])
    await window.do("click", f"{LENSES}:text-is('Accept All 2')")
    await window.holds("# a\n# b\n\n" + CODE.replace("foo", "1").replace("return a", "return a + x"))


async def test_edit_can_be_stopped_during_generation(window, folder, engine, service):
    engine.answers, engine.hold = [GOOD], True
    await window.open(folder / "stopped.py", CODE, 1, 4)
    await ask_for(window, "add one")
    await window.lists(LENSES, ["Stop"])
    assert await asyncio.to_thread(engine.began.wait, 20)
    await window.do("click", f"{LENSES}:text-is('Stop')")
    await window.lists(LENSES, [])
    await until(lambda: service.service.requests.held == 0)
    engine.go.set()
    await until(lambda: "closed chat" in engine.log)
    await window.holds(CODE)


async def test_proposal_opens_as_a_diff(window, folder, engine):
    engine.answers = [GOOD]
    await window.open(folder / "compared.py", CODE, 1, 4)
    await ask_for(window, "add one")
    await window.lists(LENSES, [*PROPOSED, *ONE, *ONE])
    proposed = await window.host(
        """await vscode.commands.executeCommand("codellama.edit.diff");
        const { modified } = vscode.window.tabGroups.activeTabGroup.activeTab.input;
        const document = await vscode.workspace.openTextDocument(modified);
        await vscode.commands.executeCommand("workbench.action.closeActiveEditor");
        return document.getText();"""
    )
    assert proposed == CODE.replace("foo", "1").replace("return a", "return a + x")
    await window.press("Escape")
    await window.lists(LENSES, [])


async def test_failed_edit_is_reported(window, folder, engine):
    engine.answers = ["I can't.", "I really can't."]
    await window.open(folder / "told.py", CODE, 1, 4)
    await ask_for(window, "add one")
    await window.see(".notification-list-item-message:has-text('Code Llama')")
    await window.lists(LENSES, [])
    await window.command("notifications.clearAll")
    await window.holds(CODE)


async def test_fix_for_another_tools_diagnostic_is_applied(window, folder, engine):
    """The list needs no model; the edit is generated when the action is resolved."""
    engine.answers = [GOOD]
    await window.open(folder / "fix.py", CODE, 1, 9)
    found = await window.host(
        """const { document } = vscode.window.activeTextEditor;
        const range = new vscode.Range(1, 8, 1, 11);
        state.problems = vscode.languages.createDiagnosticCollection("any");
        state.problems.set(document.uri, [new vscode.Diagnostic(range, "undefined name 'foo'")]);
        const list = (resolved) =>
          vscode.commands.executeCommand("vscode.executeCodeActionProvider", document.uri, range, "quickfix", resolved);
        const [action] = await list(1);
        state.problems.dispose();
        await vscode.workspace.applyEdit(action.edit);
        return [action.title, action.kind.value];"""
    )
    assert found == ["Fix: undefined name 'foo'", "quickfix"]
    await window.holds(CODE.replace("foo", "1").replace("return a", "return a + x"))


async def test_code_action_is_previewed_and_then_applied(window, folder, engine):
    engine.answers = [block('def f(a):\n    """Give a back."""\n    x = foo\n    return a')]
    await window.open(folder / "preview.py", CODE, 0, 6)
    await window.command("editor.action.codeAction", {"kind": "refactor.rewrite", "apply": "first"})
    await window.see(f"{PREVIEW} .monaco-list-row", 60)
    rows = await window.texts(f"{PREVIEW} .monaco-list-row")
    assert any("preview.py" in row for row in rows), rows
    await window.holds(CODE)
    await window.do("click", f":is({PREVIEW}) .monaco-list-row .edit-checkbox")  # generated changes are not ticked yet
    await window.do("click", f":is({PREVIEW}) .monaco-button:has-text('Apply')")
    await window.holds(CODE.replace("def f(a):\n", 'def f(a):\n    """Give a back."""\n'))
