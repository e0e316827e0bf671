"""First use in a real VS Code: no language server is installed, and the folder is untrusted.

A real pip installs a test wheel into a real environment. The wheel's program runs this source tree.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from zipfile import ZipFile

import psutil
import pytest
import pytest_asyncio
from support.code_server import SETTINGS
from support.vscode_window import ROOT, START, STATUS, VscodeWindow, becomes
from support.waiting import until

pytestmark = [pytest.mark.editors, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

CODE = "def total(values):\n    result =\n    return result\n"
DIALOG = ".monaco-dialog-box"
PICKED = ".quick-input-widget .monaco-list-row"
MACHINES = {
    "server.path": "/FOLDER/evil",
    "server.python": "/FOLDER/evil",
    "server.package": "evil",
    "engine.url": "http://127.0.0.1:9",
    "engine.model": "evil",
    "engine.chatModel": "evil",
    "engine.adapter": "evil",
}
"""Settings that no folder can set, trusted or not."""

TRUSTED = {"actions.prompts": ["Say hello"], "completion.excludedFiles": ["secret.py"]}
"""Settings that a trusted folder can set."""

FREE = {"completion.maxTokens": 32}
"""Settings that any folder can set."""

SLOW_PYTHON = """#!/bin/sh
[ "$1" = --version ] && { echo Python 3.12.0; exit; }
mkdir -p "$5"
sleep 1000 &
echo $! > "$5/../child"
wait
"""


@pytest.fixture(scope="module")
def strange(home: Path) -> Path:
    """A folder that tries to set every setting, with a program that leaves a marker file when run."""
    folder = home / "strange"
    (folder / ".vscode").mkdir(parents=True)
    settings = {f"codellama.{name}": value for name, value in {**MACHINES, **TRUSTED, **FREE}.items()}
    (folder / ".vscode/settings.json").write_text(json.dumps(settings).replace("/FOLDER", str(folder)))
    (folder / "evil").write_text(f"#!/bin/sh\ntouch {folder}/was-run\n")
    (folder / "evil").chmod(0o755)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def first(home: Path, window: VscodeWindow, code, strange: Path) -> AsyncIterator[VscodeWindow]:
    """A window on that folder in Restricted Mode. It reads the settings file when it opens."""
    path = await window.host("return vscode.workspace.getConfiguration('codellama.server').get('path')")
    await window.setting("codellama.server.path", None)
    file = home / "user/User/settings.json"
    before = file.read_text()
    file.write_text(json.dumps({**SETTINGS, "security.workspace.trust.enabled": True}))
    opened = await code.window(strange)
    yield opened
    await opened.do("close")
    file.write_text(before)
    for name, value in (("python", None), ("path", path)):
        await window.setting(f"codellama.server.{name}", value)
    await window.see(f"{STATUS} .codicon-sparkle", START)


@pytest.fixture(scope="module")
def own(home: Path) -> Path:
    """The folder of the extension's environment."""
    return home / "user/User/globalStorage/codellama-ls.codellama-ls/server"


async def chosen(window: VscodeWindow) -> dict:
    """Return our effective settings in a window."""
    names = json.dumps([*MACHINES, *TRUSTED, *FREE])
    return await window.host(
        f"""const settings = vscode.workspace.getConfiguration("codellama");
        return Object.fromEntries({names}.map((name) => [name, settings.get(name)]));"""
    )


async def begin(window: VscodeWindow, kind: str, path: Path) -> None:
    """Start the set-up from a wheel or a folder, until it requests consent."""
    await window.command("codellama.setUp")
    await window.do("click", f"{PICKED}:has-text('{kind}')")  # the same widget then requests a path
    value = "document.querySelector('.quick-input-widget input')?.value ?? ''"

    async def stands(text: str) -> bool:
        return (await window.do("evaluate", value)).rstrip("/").endswith(text)

    await becomes(lambda: stands("/strange"), True)  # the initial path; text typed earlier would be appended to it
    await window.do("fill", ".quick-input-widget input", str(path))
    await becomes(lambda: stands(str(path)), True)
    find = "[...document.querySelectorAll('.quick-input-widget .monaco-button')].find((one) => one.innerText === 'OK')"

    async def asked() -> bool:
        """Press the button until it responds: it is ignored while the path is being checked."""
        await window.do("evaluate", f"{find}?.click()")
        return bool(await window.texts(DIALOG))

    await becomes(asked, True)


async def decide(window: VscodeWindow, button: str) -> None:
    await window.do("click", f"{DIALOG} .monaco-button:text-is('{button}')")
    await window.gone(DIALOG)


def wheel(folder: Path) -> Path:
    """A wheel with our name. Its program runs this source tree with this Python's packages."""
    code = f"""import os, sys
    def main():
        os.environ["PYTHONPATH"] = {str(ROOT)!r}
        os.execv({sys.executable!r}, [{sys.executable!r}, "-m", "lsp_server", *sys.argv[1:]])
    """
    files = {
        "this_source_tree.py": code.replace("\n    ", "\n"),
        "codellama_ls-9.9.dist-info/METADATA": "Metadata-Version: 2.1\nName: codellama-ls\nVersion: 9.9\n",
        "codellama_ls-9.9.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "codellama_ls-9.9.dist-info/entry_points.txt": "[console_scripts]\ncodellama-ls = this_source_tree:main\n",
        "codellama_ls-9.9.dist-info/RECORD": "",
    }
    file = folder / "codellama_ls-9.9-py3-none-any.whl"
    with ZipFile(file, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    return file


async def test_setup_is_offered_and_the_folders_program_not_run(first, strange):
    await first.tells("Code Llama needs its language server, codellama-ls, which is not installed here.")
    await first.status("Code Llama: set up")
    await first.command("codellama.restart")
    await first.status("Code Llama: set up")
    assert not (strange / "was-run").exists()


async def test_setup_needs_consent(first, own, tmp_path):
    await first.answer("Set Up…")  # button of the message at the start
    await first.see(PICKED)
    await first.press("Escape")
    await begin(first, "From a wheel", wheel(tmp_path))
    (told,) = await first.texts(DIALOG)
    assert str(tmp_path) in told and str(own) in told and "expect some gigabytes" in told
    await decide(first, "Cancel")
    await first.status("Code Llama: set up")
    assert not own.exists()


async def test_missing_or_old_python_is_reported(first, tmp_path):
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\necho Python 3.10.14\n")
    old.chmod(0o755)
    for python, found in (
        ("/nowhere/python3", "there is no '/nowhere/python3'"),
        (str(old), f"'{old}' is Python 3.10.14"),
    ):
        await first.setting("codellama.server.python", python)
        await first.command("codellama.setUp")
        await first.tells(f"Code Llama needs Python 3.11 or newer, and {found}: set codellama.server.python to one.")
    await first.command("notifications.clearAll")


async def test_stopped_setup_leaves_nothing(first, own, tmp_path):
    slow = tmp_path / "python"
    slow.write_text(SLOW_PYTHON)
    slow.chmod(0o755)
    await first.setting("codellama.server.python", str(slow))
    await begin(first, "From a folder of wheels", tmp_path)
    await decide(first, "Set Up")
    await first.tells("Creating an environment")
    child = own.parent / "child"
    await until(lambda: child.exists() and child.read_text().endswith("\n"))
    await first.answer("Cancel")
    await first.tells("Code Llama: the set-up was cancelled.")
    await until(lambda: not psutil.pid_exists(int(child.read_text())))
    assert not own.exists()
    await first.setting("codellama.server.python", None)
    await first.command("notifications.clearAll")


async def test_offline_setup_from_wheels_serves(first, own, engine, strange, tmp_path):
    """At first the folder has no wheels: pip's error is shown, and the set-up can be retried."""
    await begin(first, "From a folder of wheels", tmp_path)
    assert "Nothing is downloaded." in (await first.texts(DIALOG))[0]
    await decide(first, "Set Up")
    await first.tells("the set-up failed. Could not find a version that satisfies the requirement codellama-ls", START)
    await first.status("Code Llama: set up")
    assert not own.exists()
    wheel(tmp_path)
    await first.answer("Try Again")
    await first.see(f"{STATUS} .codicon-sparkle", START)
    assert (own / "bin/codellama-ls").exists()
    assert [one.name for one in own.parent.glob("server*")] == ["server"]
    await first.command("notifications.clearAll")
    engine.pieces = ["sum(values)"]
    await first.open(strange / "first.py", CODE, 1, 12)
    await first.write(" ")
    await first.shows("sum(values)")
    await first.press("Escape")
    assert not (strange / "was-run").exists()


async def test_in_restricted_mode_no_terminal_is_opened(first):
    """VS Code would prompt to trust the folder, which the doctor does not need."""
    await first.command("codellama.doctor")
    await first.tells("run 'codellama-ls doctor' in another window, or by hand.")
    assert await first.texts(DIALOG) == []
    await first.command("notifications.clearAll")


async def test_trusted_folders_may_change_a_few_more_settings(first, strange):
    usual = {
        **dict.fromkeys(MACHINES, ""),
        "engine.model": "starter",
        "engine.adapter": "auto",
        **{name: [] for name in TRUSTED},
    }
    assert await chosen(first) == {**usual, **FREE}

    async def offered(name: str) -> bool:
        """Return whether the language server offers a custom instruction in this file."""
        return await first.host(
            f"""const {{ uri }} = await vscode.workspace.openTextDocument({json.dumps(str(strange / name))});
            const range = new vscode.Range(0, 0, 0, 5);
            const found = await vscode.commands.executeCommand("vscode.executeCodeActionProvider", uri, range);
            return found.some((one) => one.title.includes("Say hello"));"""
        )

    for name in ("seen.py", "secret.py"):
        (strange / name).write_text("x = 1\n")
    assert not await offered("seen.py")
    await first.command("workbench.action.terminal.new")  # opening a terminal prompts for trust
    await first.see(DIALOG)
    await decide(first, "Trust Folder & Continue")
    await becomes(lambda: first.host("return vscode.workspace.isTrusted"), True)
    await becomes(lambda: chosen(first), {**usual, **FREE, **TRUSTED})
    await becomes(lambda: offered("seen.py"), True)
    assert not await offered("secret.py")
    await first.command("workbench.action.terminal.killAll")
    assert not (strange / "was-run").exists()


async def test_extension_runs_beside_the_files_in_a_browser_window(first):
    """`extensionKind` does this, also over SSH, in WSL and in containers. (The window is the tests' Chromium.)"""
    found = await first.host(
        """const { extensionKind } = vscode.extensions.getExtension("codellama-ls.codellama-ls");
        const { UIKind, ExtensionKind, env } = vscode;
        return [UIKind[env.uiKind], env.remoteName !== undefined, ExtensionKind[extensionKind]];"""
    )
    assert found == ["Web", True, "Workspace"]
