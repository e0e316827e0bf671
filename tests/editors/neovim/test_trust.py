"""Neovim opens a folder of traps: the plugin's language server and its engine run none of them."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from editors.neovim.editor import SETTINGS, neovim
from support.engine_processes import engines
from support.trap_folder import lay_traps

pytestmark = [pytest.mark.editors, pytest.mark.slow, pytest.mark.starter]


def test_opened_folder_supplies_no_code(version, runtime: Path, starter_folder: Path, tmp_path, monkeypatch):
    trap = lay_traps(tmp_path / "repository", tmp_path / "sprung")
    monkeypatch.chdir(trap.root)
    settings = {**SETTINGS, "engine": {"graceSeconds": 0.2}}
    with neovim(version, trap.root, {"settings": settings}) as editor:
        editor.open("def add(a, b):\n    return\n\n\nprint(add(1, 2))\n", "adding.py")
        editor.nvim.command("normal! 2G")
        editor.keys("A ")
        editor.sees("a + b")
        [engine] = engines(runtime)
        [server] = psutil.Process(editor.lua("return vim.fn.getpid()")).children()
        assert (server.cwd(), engine.cwd()) == ("/", "/")
    engine.wait(60)
    assert trap.sprung() == []
