"""Real VS Code, served by code-server and shown by a headless Chromium, with our extension."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zipfile import ZipFile

import httpx
from support.vscode_window import CLIENT, ROOT, START, JsonLines, VscodeWindow

HERE = Path(__file__).parents[1] / "editors/vscode"
TOOLS = Path(os.environ.get("VSCODE_TOOLS", ROOT / ".venv/editors/vscode")).resolve()

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
    """Return the reason why VS Code tests can't run, or an empty string."""
    if not (TOOLS / "node_modules/code-server/out/node/entry.js").exists() or shutil.which("chromium") is None:
        return "there is no VS Code here: `make test-vscode` installs it and runs this"
    return "" if (CLIENT / "dist/codellama-ls.vsix").exists() else "the extension is not built: `make vsix` builds it"


@dataclass
class Vscode:
    """A running code-server. Windows open one at a time."""

    folder: Path
    port: int
    browser: JsonLines
    hosts: asyncio.Queue[JsonLines] = field(default_factory=asyncio.Queue)

    async def window(self, folder: Path, width: int = 1000, height: int = 640) -> VscodeWindow:
        """Open a window on a folder; return when its extensions run."""
        url = f"http://127.0.0.1:{self.port}/?folder={quote(str(folder))}"
        page = await self.browser.ask(page=-1, call="open", args=[url, width, height])
        return VscodeWindow(page, self.browser, await asyncio.wait_for(self.hosts.get(), START))


def program(folder: Path, **env: str) -> Path:
    """Write an executable file that runs this source tree's language server with ``env``."""
    file = folder / "bin/codellama-ls"
    file.parent.mkdir()
    given = " ".join(f"{name}='{value}'" for name, value in {**env, "PYTHONPATH": ROOT}.items())
    file.write_text(f'#!/bin/sh\n{given} exec {sys.executable} -m lsp_server "$@"\n')
    file.chmod(0o755)
    return file


@asynccontextmanager
async def vscode(folder: Path, settings: dict[str, Any], env: dict[str, str]) -> AsyncIterator[Vscode]:
    """Start code-server with our extension; ``settings`` are machine settings."""
    user, extensions, port = folder / "user", folder / "extensions", _free_port()
    _write_settings(user, settings)
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
    await _install_extensions([*entry, *folders], folder, quiet)
    options = ["--auth", "none", "--bind-addr", f"127.0.0.1:{port}", "--disable-telemetry", "--disable-update-check"]
    options += ["--disable-getting-started-override", "--reconnection-grace-time", "5"]
    serving = await asyncio.create_subprocess_exec(*entry, *folders, *options, **quiet)
    browsing = await asyncio.create_subprocess_exec(
        str(TOOLS / "bin/node"), str(HERE / "browser.mjs"), str(TOOLS), str(shutil.which("chromium")),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24,
    )  # fmt: skip
    assert browsing.stdin is not None and browsing.stdout is not None
    one = Vscode(folder, port, JsonLines(browsing.stdout, browsing.stdin))

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.hosts.put(JsonLines(reader, writer))

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


def _write_settings(user: Path, settings: dict[str, Any]) -> None:
    """Write the user's settings, and ``settings`` as those of the machine."""
    for where, what in (("User", SETTINGS), ("Machine", settings)):
        (user / where).mkdir(parents=True, exist_ok=True)
        (user / where / "settings.json").write_text(json.dumps(what))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


async def _install_extensions(command: list[str], folder: Path, options: dict[str, Any]) -> None:
    """Install our extension and the tests' probe."""
    for vsix in (CLIENT / "dist/codellama-ls.vsix", _packed(HERE / "probe", folder)):
        installing = await asyncio.create_subprocess_exec(
            *command, "--install-extension", str(vsix), "--force", **options
        )
        assert await installing.wait() == 0, (folder / "log").read_text()


def _packed(extension: Path, into: Path) -> Path:
    """Pack an extension's folder as a VSIX file."""
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
                pass  # not listening yet
            await asyncio.sleep(0.1)
    raise AssertionError("code-server does not answer")
