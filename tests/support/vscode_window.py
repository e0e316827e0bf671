"""A real VS Code window: keys, screen and extension host."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "editor_clients/vscode"
STATUS = '.statusbar-item[id="codellama-ls.codellama-ls.codellama.status"]'
GHOST = ".ghost-text-decoration, .ghost-text-decoration-preview, .ghost-text"
MESSAGE = ".notifications-center .notification-list-item"
WAIT, START = 60.0, 300.0


class JsonLines:
    """Requests and responses as lines of JSON."""

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
    """Poll ``look`` until it returns ``wanted``: screen and extension host have no events."""
    end = time.monotonic() + seconds
    while (found := await look()) != wanted:
        assert time.monotonic() < end, f"it is {found!r}"
        await asyncio.sleep(0.05)


@dataclass
class VscodeWindow:
    """A VS Code window."""

    page: int
    browser: JsonLines
    extension_host: JsonLines

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
        """Type key by key."""
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

    async def keep(self, name: str) -> None:
        """Save a picture for the documentation, if VSCODE_PICTURES names a folder."""
        if folder := os.environ.get("VSCODE_PICTURES"):
            await self.do("screenshot", f"{folder}/{name}.png", {"x": 300, "y": 0, "width": 700, "height": 640})

    async def gone(self, selector: str, seconds: float = WAIT) -> None:
        await self.do("gone", selector, seconds * 1000)

    async def texts(self, selector: str) -> list[str]:
        return [text.replace("\xa0", " ") for text in await self.do("texts", selector)]

    async def open(self, path: Path, text: str, line: int, character: int) -> None:
        """Write and open a file, focus it and place the cursor; close all others.

        VS Code shows its cached text of a file before it reads it again, which moves the cursor. The cursor is thus
        placed when the text is the file's.
        """
        await self.close_editors()
        await asyncio.to_thread(path.write_text, text)
        file = f"vscode.Uri.file({json.dumps(str(path))})"
        await self.host(f"await vscode.window.showTextDocument({file}, {{preview: false}});")
        await self.holds(text)
        await self.host(
            f"""const at = new vscode.Position({line}, {character});
            await vscode.window.showTextDocument({file}, {{selection: new vscode.Range(at, at), preview: false}});
            await vscode.commands.executeCommand("workbench.action.focusActiveEditorGroup");"""
        )

    async def close_editors(self) -> None:
        """Save and close all editors; VS Code would ask about unsaved ones."""
        await self.host(
            """await vscode.workspace.saveAll();
            await vscode.commands.executeCommand("workbench.action.closeAllEditors");"""
        )

    async def shows(self, text: str) -> None:
        """Wait until this ghost text is displayed on one line."""

        async def found() -> str:
            return "".join(await self.texts(GHOST))

        await becomes(found, text)

    async def holds(self, text: str) -> None:
        """Wait until the document has this text: keys take a moment to reach the extension host."""
        await becomes(lambda: self.host("return vscode.window.activeTextEditor?.document.getText()"), text)

    async def lists(self, selector: str, wanted: list[str]) -> None:
        """Wait until a part of the screen has these texts."""
        await becomes(lambda: self.texts(selector), wanted)

    async def command(self, name: str, *args: Any) -> None:
        """Start a VS Code command without waiting for its end."""
        given = "".join(f", {json.dumps(arg)}" for arg in args)
        await self.host(f"vscode.commands.executeCommand({json.dumps(name)}{given});")

    async def ask(self, method: str, **params: Any) -> Any:
        """Send a request to this window's language server."""
        extension = "vscode.extensions.getExtension('codellama-ls.codellama-ls').exports"
        return await self.host(f"return {extension}.request({json.dumps(method)}, {json.dumps(params)})")

    async def choose(self, title: str) -> None:
        """Choose the entry with this text in the quick pick."""
        await self.see(".quick-input-widget .monaco-list-row")
        await self.write(title)
        await self.press("Enter")
        await self.gone(".quick-input-widget .monaco-list-row")

    async def answer(self, button: str, seconds: float = WAIT) -> None:
        """Click a button of a message, even if it is hidden by now."""
        selector = f"{MESSAGE} .monaco-button:text-is('{button}')"
        await self._listed(selector, seconds)
        await self.do("click", selector)

    async def tells(self, text: str, seconds: float = WAIT) -> None:
        """Wait until there is a message with this text."""
        await self._listed(f"{MESSAGE}-message:has-text({json.dumps(text)})", seconds)

    async def _listed(self, selector: str, seconds: float) -> None:
        """Open the list of messages until it has the selector; it closes by itself when empty."""

        async def found() -> bool:
            await self.host("await vscode.commands.executeCommand('notifications.showList')")
            return bool(await self.texts(selector))

        await becomes(found, True, seconds)

    async def setting(self, name: str, value: Any) -> None:
        """Change a user setting; None removes it."""
        section, _, name = name.rpartition(".")
        given = "undefined" if value is None else json.dumps(value)
        change = f"vscode.workspace.getConfiguration({json.dumps(section)}).update({json.dumps(name)}, {given}, true)"
        await self.host(f"await {change}")

    async def status(self, wanted: str, seconds: float = WAIT) -> None:
        """Wait until our status bar item has this text."""

        async def found() -> str:
            return "".join(await self.texts(STATUS)).strip()

        await becomes(found, wanted, seconds)
