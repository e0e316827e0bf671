"""Real VS Code, served by code-server and shown by a headless Chromium: its keys, its screen, its extension host."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zipfile import ZipFile

import httpx

ROOT = Path(__file__).parents[1]
CLIENT = ROOT / "editor_clients/vscode"
HERE = Path(__file__).parent / "editors/vscode"
TOOLS = Path(os.environ.get("VSCODE_TOOLS", ROOT / ".venv/editors/vscode")).resolve()
STATUS = '.statusbar-item[id="codellama-ls.codellama-ls.codellama.status"]'
GHOST = ".ghost-text-decoration, .ghost-text-decoration-preview, .ghost-text"
MESSAGE = ".notifications-center .notification-list-item"
WAIT, START = 30.0, 300.0

SETTINGS = {
    "chat.commandCenter.enabled": False,
    "editor.inlineSuggest.enabled": True,
    "editor.minimap.enabled": False,
    "extensions.autoUpdate": False,
    "security.workspace.trust.enabled": False,
    "terminal.integrated.gpuAcceleration": "off",  # its text is in the page then
    "telemetry.telemetryLevel": "off",
    "update.mode": "none",
    "workbench.startupEditor": "none",
    "workbench.tips.enabled": False,
    "workbench.secondarySideBar.defaultVisibility": "hidden",
}


def missing() -> str:
    """Why there is no VS Code to test with here, or an empty string."""
    if not (TOOLS / "node_modules/code-server/out/node/entry.js").exists() or shutil.which("chromium") is None:
        return "there is no VS Code here: `make test-vscode` installs it and runs this"
    return "" if (CLIENT / "dist/codellama-ls.vsix").exists() else "the extension is not built: `make vsix` builds it"


class _Lines:
    """Questions and answers, a line of JSON each."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._task = asyncio.ensure_future(self._read())

    async def ask(self, **question: Any) -> Any:
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps({"id": number, **question}).encode() + b"\n")
        answer = await asyncio.wait_for(self._waiting[number], START)
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer.get("value")

    async def _read(self) -> None:
        while line := await self._reader.readline():
            answer = json.loads(line)
            waiting = self._waiting.pop(answer["id"], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)
        for waiting in self._waiting.values():
            waiting.set_exception(AssertionError("the window has gone"))

    def close(self) -> None:
        self._task.cancel()
        self._writer.close()


async def becomes(look: Callable[[], Awaitable[Any]], wanted: Any, seconds: float = WAIT) -> None:
    """What ``look`` finds comes to be ``wanted``: neither a screen nor an extension host says when it is done."""
    end = time.monotonic() + seconds
    while (found := await look()) != wanted:
        assert time.monotonic() < end, f"it is {found!r}"
        await asyncio.sleep(0.05)


@dataclass
class CodeWindow:
    """One window."""

    page: int
    browser: _Lines
    extension_host: _Lines

    async def host(self, code: str) -> Any:
        """Run the body of an async function of ``vscode`` in the extension host."""
        return await self.extension_host.ask(code=code)

    async def do(self, call: str, *args: Any) -> Any:
        """Have the browser do something; see ``browser.mjs``."""
        return await self.browser.ask(page=self.page, call=call, args=list(args))

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.do("press", key)

    async def write(self, text: str, delay: int = 20) -> None:
        """As a person: key by key."""
        await self.do("type", text, delay)

    async def see(self, selector: str, seconds: float = WAIT) -> None:
        try:
            await self.do("wait", selector, seconds * 1000)
        except AssertionError:
            await self.picture(ROOT / "build/vscode-failed.png")
            raise

    async def picture(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        await self.do("screenshot", str(path))

    async def keep(self, name: str, right: int = 1000) -> None:
        """A picture for the documentation, where VSCODE_PICTURES names a folder for such."""
        if folder := os.environ.get("VSCODE_PICTURES"):
            await self.do("screenshot", f"{folder}/{name}.png", {"x": 300, "y": 0, "width": right - 300, "height": 640})

    async def gone(self, selector: str, seconds: float = WAIT) -> None:
        await self.do("gone", selector, seconds * 1000)

    async def texts(self, selector: str) -> list[str]:
        return [text.replace("\xa0", " ") for text in await self.do("texts", selector)]

    async def open(self, path: Path, text: str, line: int, character: int) -> None:
        """A file with the cursor in it, and the keyboard too."""
        await asyncio.to_thread(path.write_text, text)
        await self.host(
            f"""await vscode.commands.executeCommand("workbench.action.closeAllEditors");
            const at = new vscode.Position({line}, {character});
            await vscode.window.showTextDocument(vscode.Uri.file({json.dumps(str(path))}),
              {{selection: new vscode.Range(at, at), preview: false}});
            await vscode.commands.executeCommand("workbench.action.focusActiveEditorGroup");"""
        )

    async def shows(self, text: str) -> None:
        """Grey text of one line."""

        async def found() -> str:
            return "".join(await self.texts(GHOST))

        await becomes(found, text)

    async def holds(self, text: str) -> None:
        """The document comes to have this text: keys take a moment to reach the extension host."""
        await becomes(lambda: self.host("return vscode.window.activeTextEditor?.document.getText()"), text)

    async def lists(self, selector: str, wanted: list[str]) -> None:
        """The texts that a part of the screen comes to have."""
        await becomes(lambda: self.texts(selector), wanted)

    async def command(self, name: str, *args: Any) -> None:
        """Begin a command of VS Code's; its end is not waited for."""
        given = "".join(f", {json.dumps(arg)}" for arg in args)
        await self.host(f"vscode.commands.executeCommand({json.dumps(name)}{given});")

    async def ask(self, method: str, **params: Any) -> Any:
        """A request to this window's language server, past all editors."""
        extension = "vscode.extensions.getExtension('codellama-ls.codellama-ls').exports"
        return await self.host(f"return {extension}.request({json.dumps(method)}, {json.dumps(params)})")

    async def choose(self, title: str) -> None:
        """Of the list that has just opened at the top, the entry that has this text."""
        await self.see(".quick-input-widget .monaco-list-row")
        await self.write(title)
        await self.press("Enter")
        await self.gone(".quick-input-widget .monaco-list-row")

    async def answer(self, button: str, seconds: float = WAIT) -> None:
        """A button of a message, which need not be on the screen any more."""
        selector = f"{MESSAGE} .monaco-button:text-is('{button}')"
        await self._listed(selector, seconds)
        await self.do("click", selector)

    async def tells(self, text: str, seconds: float = WAIT) -> None:
        """A message with this text comes, or is there already."""
        await self._listed(f"{MESSAGE}-message:has-text({json.dumps(text)})", seconds)

    async def _listed(self, selector: str, seconds: float) -> None:
        """The list of messages closes by itself whenever it comes to be empty."""

        async def found() -> bool:
            await self.host("await vscode.commands.executeCommand('notifications.showList')")
            return bool(await self.texts(selector))

        await becomes(found, True, seconds)

    async def setting(self, name: str, value: Any) -> None:
        """Of the user, or the machine; None takes it out."""
        section, _, name = name.rpartition(".")
        given = "undefined" if value is None else json.dumps(value)
        change = f"vscode.workspace.getConfiguration({json.dumps(section)}).update({json.dumps(name)}, {given}, true)"
        await self.host(f"await {change}")

    async def status(self, wanted: str, seconds: float = WAIT) -> None:
        """The text of our status bar item comes to be this."""

        async def found() -> str:
            return "".join(await self.texts(STATUS)).strip()

        await becomes(found, wanted, seconds)


@dataclass
class Vscode:
    """One code-server. Windows are opened one after the other."""

    folder: Path
    port: int
    browser: _Lines
    hosts: asyncio.Queue[_Lines] = field(default_factory=asyncio.Queue)

    async def window(self, folder: Path, width: int = 1000, height: int = 640) -> CodeWindow:
        """A new window on a folder, once its extensions run."""
        url = f"http://127.0.0.1:{self.port}/?folder={quote(str(folder))}"
        page = await self.browser.ask(page=-1, call="open", args=[url, width, height])
        return CodeWindow(page, self.browser, await asyncio.wait_for(self.hosts.get(), START))


def program(folder: Path, **env: str) -> Path:
    """The language server of this source tree, as one file that can be run, with ``env`` besides VS Code's own."""
    file = folder / "bin/codellama-ls"
    file.parent.mkdir()
    given = " ".join(f"{name}='{value}'" for name, value in {**env, "PYTHONPATH": ROOT}.items())
    file.write_text(f'#!/bin/sh\n{given} exec {sys.executable} -m lsp_server "$@"\n')
    file.chmod(0o755)
    return file


@asynccontextmanager
async def vscode(folder: Path, settings: dict[str, Any], env: dict[str, str]) -> AsyncIterator[Vscode]:
    """Start it with our extension installed from its file; ``settings`` are the machine's."""
    user, extensions = folder / "user", folder / "extensions"
    for where, what in (("User", SETTINGS), ("Machine", settings)):
        (user / where).mkdir(parents=True, exist_ok=True)
        (user / where / "settings.json").write_text(json.dumps(what))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "config.yaml").write_text("")
    entry = [str(TOOLS / "bin/node"), str(TOOLS / "node_modules/code-server/out/node/entry.js")]
    folders = [
        "--config",
        str(folder / "config.yaml"),
        "--user-data-dir",
        str(user),
        "--extensions-dir",
        str(extensions),
    ]
    env = {**os.environ, **env, "CODELLAMA_PROBE": str(folder / "probe.sock")}
    quiet: dict[str, Any] = {"stdout": (folder / "log").open("ab"), "stderr": asyncio.subprocess.STDOUT, "env": env}
    for vsix in (CLIENT / "dist/codellama-ls.vsix", _packed(HERE / "probe", folder)):
        command = [*entry, *folders, "--install-extension", str(vsix), "--force"]
        installing = await asyncio.create_subprocess_exec(*command, **quiet)
        assert await installing.wait() == 0, (folder / "log").read_text()
    options = ["--auth", "none", "--bind-addr", f"127.0.0.1:{port}", "--disable-telemetry", "--disable-update-check"]
    options += ["--disable-getting-started-override", "--reconnection-grace-time", "5"]
    serving = await asyncio.create_subprocess_exec(*entry, *folders, *options, **quiet)
    browsing = await asyncio.create_subprocess_exec(
        str(TOOLS / "bin/node"), str(HERE / "browser.mjs"), str(TOOLS), str(shutil.which("chromium")),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24,
    )  # fmt: skip
    assert browsing.stdin is not None and browsing.stdout is not None
    one = Vscode(folder, port, _Lines(browsing.stdout, browsing.stdin))

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.hosts.put(_Lines(reader, writer))

    probes = await asyncio.start_unix_server(connected, folder / "probe.sock", limit=1 << 24)
    try:
        await _healthy(port)
        yield one
    finally:
        browsing.stdin.close()
        probes.close()
        for process in (browsing, serving):
            process.terminate()
            await asyncio.wait_for(process.wait(), 30)


def _packed(extension: Path, into: Path) -> Path:
    """An extension of plain files as one that can be installed."""
    about = json.loads((extension / "package.json").read_text())
    identity = f'Id="{about["name"]}" Publisher="{about["publisher"]}" Version="{about["version"]}" Language="en-US"'
    manifest = f"""<PackageManifest Version="2.0.0" xmlns="http://schemas.microsoft.com/developer/vsx-schema/2011">
      <Metadata><Identity {identity}/><DisplayName>{about["name"]}</DisplayName><Description/></Metadata>
      <Installation><InstallationTarget Id="Microsoft.VisualStudio.Code"/></Installation><Dependencies/>
      <Assets><Asset Type="Microsoft.VisualStudio.Code.Manifest" Path="extension/package.json"/></Assets>
    </PackageManifest>"""
    file = into / f"{about['name']}.vsix"
    with ZipFile(file, "w") as packed:
        packed.writestr("extension.vsixmanifest", manifest)
        for path in extension.iterdir():
            packed.write(path, f"extension/{path.name}")
    return file


async def _healthy(port: int) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        end = time.monotonic() + START
        while time.monotonic() < end:
            try:
                if (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.1)
    raise AssertionError("code-server does not answer")
