"""Neovim in a terminal (tmux): keys, and the colours on the screen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from editors.neovim.editor import PLUGIN, ROOT, executable

pytestmark = [pytest.mark.editors, pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")]

INIT = """
vim.opt.runtimepath:prepend('{plugin}')
vim.o.termguicolors, vim.o.swapfile, vim.o.ruler = true, false, false
vim.o.laststatus, vim.o.statusline = 2, '%f %= %{{v:lua.require("codellama").statusline()}} '
require('codellama').setup({{ cmd = {{ '{python}', '-m', 'lsp_server', '--stdio' }} }})
"""


class Tmux:
    """Start Neovim in a terminal of 60 by 9."""

    def __init__(self, version: str, folder, file: str) -> None:
        self._socket = f"codellama-{os.getpid()}-{version}"
        init = folder / "init.lua"
        init.write_text(INIT.format(plugin=PLUGIN, python=sys.executable))
        environment = ["env", "TERM=tmux-256color", "COLORTERM=truecolor", f"PYTHONPATH={ROOT}"]
        self(
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "60",
            "-y",
            "9",
            "-c",
            str(folder),
            *environment,
            str(executable(version)),
            "--clean",
            "-u",
            str(init),
            file,
        )

    def __call__(self, *words: str) -> str:
        return subprocess.run(["tmux", "-L", self._socket, *words], check=True, capture_output=True, text=True).stdout

    def screen(self, *options: str) -> list[str]:
        return self("capture-pane", "-p", *options).split("\n")

    def shows(self, condition: Callable[[list[str]], object]) -> list[str]:
        stop = time.monotonic() + 90
        while not condition(rows := self.screen()):
            assert time.monotonic() < stop, "\n".join(rows)
            time.sleep(0.05)
        return rows


@pytest.fixture
def tmux(version, engine, tmp_path):
    (tmp_path / "shop.py").write_text("PRICES = {}\n\n\n\n\nprint(total(['tea']))\n")
    opened = Tmux(version, tmp_path, "shop.py")
    yield opened
    opened("kill-server")


def test_ghost_text_is_grey_until_accepted(tmux, engine):
    engine.model.says({"def total(basket):": "\n    return sum(PRICES[item] for item in basket)"})
    tmux.shows(lambda rows: any("Code Llama" in row and "%" not in row for row in rows))
    tmux("send-keys", "jjji")
    for key in "def total(basket):":
        tmux("send-keys", "-l", key)
    tmux.shows(lambda rows: rows[4].startswith("    return sum("))
    typed, ghost = tmux.screen("-e")[3:5]
    grey = re.findall(r"\x1b\[[0-9;]*38;2;(\d+);(\d+);(\d+)m\s*return sum", ghost)
    assert len(grey) == 1 and len(set(map(int, grey[0]))) <= 3
    assert f"38;2;{';'.join(grey[0])}m" not in typed
    tmux("send-keys", "Tab")
    tmux.shows(lambda rows: rows[4].startswith("    return sum("))
    tmux("send-keys", "Escape")
    tmux.shows(lambda _: f"38;2;{';'.join(grey[0])}m" not in tmux.screen("-e")[4])
