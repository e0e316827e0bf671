"""A real Neovim with the plugin, driven by keys over RPC; tests read its screen."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

pynvim: Any = pytest.importorskip("pynvim", reason="pynvim is not installed; `make test-editors` does it")

ROOT = Path(__file__).parents[3]
PLUGIN = ROOT / "editor_clients" / "neovim"
HOME = Path(os.environ.get("EDITORS", Path(sys.prefix) / "editors"))
"""The folder into which `make test-editors` installs editors."""
SECONDS = 60.0

SETTINGS = {"completion": {"prefetch": False, "alternatives": 1, "debounceMs": 0, "minConfidence": 0}}

SETUP = """
vim.opt.runtimepath:prepend(%(plugin)s)
vim.o.columns, vim.o.lines, vim.o.swapfile = 80, 24, false
vim.notify = function(text) _G.told = _G.told or {}; table.insert(_G.told, text) end
vim.lsp.log.set_level('WARN')
require('codellama').setup(vim.json.decode(%(options)s))
"""


def executable(version: str) -> Path | None:
    """Return the path of a Neovim installed for the tests."""
    return next(HOME.glob(f"neovim-{version}/**/install/bin/nvim"), None)


class Editor:
    """One Neovim process. ``keys`` are typed; queries wait until the editor is idle."""

    def __init__(self, nvim: Any, folder: Path, version: str) -> None:
        self.nvim, self.folder, self.version = nvim, folder, version
        self._files = 0

    @property
    def lines(self) -> list[str]:
        return self.nvim.current.buffer[:]

    @property
    def cursor(self) -> tuple[int, int]:
        """Return the cursor: one-based row, zero-based column in bytes."""
        return tuple(self.nvim.current.window.cursor)

    def lua(self, code: str, *arguments: Any) -> Any:
        return self.nvim.exec_lua(code, *arguments)

    def open(self, text: str = "", name: str = "", *, attached: bool = True) -> None:
        """Open a new file with the language server attached."""
        self._files += 1
        path = self.folder / (name or f"file{self._files}.py")
        path.write_text(text, encoding="utf-8")
        self.nvim.command(f"edit {path}")
        if attached:
            client = "return require('codellama.client').of(0) ~= nil"
            self.until(lambda: self.lua(client), "the server has the file")
            self.until(lambda: self.lua("return (require('codellama.status').last() or {}).phase") == "ready", "ready")

    def keys(self, keys: str) -> None:
        self.nvim.input(keys)

    def screen(self, rows: int = 6) -> list[str]:
        """Return the first rows of the screen without trailing blanks."""
        self.nvim.command("redraw")
        return [self._row(n).rstrip() for n in range(1, rows + 1)]

    def _row(self, n: int) -> str:
        return self.lua(
            "local n = ...; local t = {} for c = 1, vim.o.columns do t[c] = vim.fn.screenstring(n, c) end "
            "return table.concat(t)",
            n,
        )

    def ghost(self) -> str | None:
        """Return the ghost text, with its lines."""
        marks = self.lua(
            "return vim.api.nvim_buf_get_extmarks(0, vim.api.nvim_create_namespace('codellama.ghost'), 0, -1,"
            " {details = true})"
        )
        if not marks:
            return None
        ((_, _, _, details),) = marks
        rows = [details.get("virt_text", []), *details.get("virt_lines", [])]
        return "\n".join("".join(chunk[0] for chunk in row) for row in rows)

    def sees(self, ghost: str | None) -> None:
        self.until(lambda: self.ghost() == ghost, lambda: f"ghost text {ghost!r}, not {self.ghost()!r}")

    def has(self, *lines: str) -> None:
        self.until(lambda: self.lines == list(lines), lambda: f"text {list(lines)!r}, not {self.lines!r}")

    @property
    def told(self) -> list[str]:
        return self.lua("return _G.told or {}")

    def hears(self, part: str) -> None:
        self.until(lambda: any(part in one for one in self.told), lambda: f"{part!r} in {self.told!r}")

    def until(self, condition: Callable[[], object], what: str | Callable[[], str]) -> None:
        stop = time.monotonic() + SECONDS
        while not condition():
            if time.monotonic() > stop:
                raise AssertionError(f"waited in vain for {what() if callable(what) else what}")
            time.sleep(0.02)

    def settled(self) -> None:
        """Wait until no request is pending, cancelled ones included."""
        asked = (
            "local n = 0; for _, c in ipairs(vim.lsp.get_clients({name = 'codellama'})) do "
            "n = n + vim.tbl_count(c.requests) end; return n"
        )
        self.until(lambda: self.lua(asked) == 0, "the server's answers")

    def trace(self) -> list[dict[str, Any]]:
        """Return the server's trace of this session."""
        return self.lua(
            "return vim.lsp.get_clients({name = 'codellama'})[1]:request_sync('codellama/trace', {}, 5000).result"
        )

    def reset(self) -> None:
        """Return to normal mode with one window and no file."""
        self.keys("<C-\\><C-n>")
        self.nvim.command("silent! only | silent! %bwipeout!")
        self.lua("_G.told = {}; vim.g.codellama_enabled = nil")


@contextmanager
def neovim(version: str, folder: Path, options: dict[str, Any] | None = None, *, before: str = "") -> Iterator[Editor]:
    """Start Neovim. ``before`` is Lua code that runs before the plugin loads."""
    nvim_path = executable(version)
    assert nvim_path is not None
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "lsp_server", "--stdio"]
    asked = {"cmd": command, "settings": SETTINGS, **(options or {})}
    init = folder / "init.lua"
    lua = SETUP % {"plugin": json.dumps(str(PLUGIN)), "options": json.dumps(json.dumps(asked))}
    init.write_text(before + lua, encoding="utf-8")
    argv = [str(nvim_path), "--embed", "--headless", "--clean", "-u", str(init)]
    previous = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    try:
        nvim = pynvim.attach("child", argv=argv)
    finally:
        os.environ.pop("PYTHONPATH") if previous is None else os.environ.update(PYTHONPATH=previous)
    try:
        yield Editor(nvim, folder, version)
    finally:
        with suppress(EOFError, OSError):
            nvim.command("qall!")
        nvim.close()
