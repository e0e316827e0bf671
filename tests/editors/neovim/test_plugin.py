"""The plugin's files: start-up cost, style, and a complete help file."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
from pathlib import Path

import pytest
from editors.neovim.editor import HOME, PLUGIN, executable

pytestmark = pytest.mark.editors

MOST_MS = 2.0
STYLUA = Path(__file__).with_name("stylua.mjs")


def test_start_up_takes_less_than_two_milliseconds(version, tmp_path, capsys):
    """The median of nine. Only files sourced before the first screen count; the rest loads later."""
    (tmp_path / "a.py").write_text("x = 1\n")
    cost = statistics.median(started(version, tmp_path / f"log{n}", tmp_path / "a.py") for n in range(9))
    later = statistics.median(began(version, tmp_path / "a.py") for _ in range(9))
    with capsys.disabled():
        print(f"\nNeovim {version}: {cost:.2f} ms of start-up; {later:.1f} ms once the first file is on the screen")  # noqa: T201
    assert 0 < cost < MOST_MS


def started(version: str, log: Path, file: Path) -> float:
    """Return the milliseconds spent in the plugin's own files, from ``--startuptime``."""
    run(version, "--startuptime", str(log), str(file), "+qall!")
    lines = [line for line in log.read_text().splitlines() if "codellama" in line]
    return sum(float(line.split()[1]) for line in lines)


def began(version: str, file: Path) -> float:
    """Return the milliseconds spent in ``start``, including loading Neovim's LSP client; no server is found."""
    code = (
        "local t = vim.uv.hrtime(); require('codellama').start();"
        "io.stdout:write((vim.uv.hrtime() - t) / 1e6); vim.cmd('qall!')"
    )
    return float(run(version, str(file), "-c", f"lua {code}"))


def run(version: str, *words: str) -> str:
    environment = {**os.environ, "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    argv = [str(executable(version)), "--headless", "--clean", "--cmd", f"set runtimepath^={PLUGIN}", *words]
    return subprocess.run(argv, check=True, env=environment, capture_output=True, text=True).stdout


@pytest.mark.skipif(not shutil.which("luacheck"), reason="luacheck (Debian: lua-check) is not installed")
def test_luacheck_has_no_findings():
    done = subprocess.run(["luacheck", "-q", "."], cwd=PLUGIN, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_code_is_formatted_by_stylua():
    if not (HOME / "node_modules" / "@johnnymorganz" / "stylua").is_dir():
        pytest.skip("stylua is not installed; `make test-editors` does it")
    command = ["node", str(STYLUA), str(HOME), str(PLUGIN)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_have_at_most_three_hundred_lines():
    long = [path for path in PLUGIN.rglob("*.lua") if len(path.read_text().splitlines()) > 300]
    assert long == []


def test_help_file_has_every_option_key_and_subcommand(editor):
    text = (PLUGIN / "doc" / "codellama.txt").read_text()
    editor.nvim.command(f"helptags {PLUGIN}/doc")
    options = editor.lua("return require('codellama.config').options")
    names = [*options, *(f"{group}.{name}" for group in options if group.endswith("keys") for name in options[group])]
    assert [name for name in names if not re.search(rf"\b{re.escape(name.split('.')[-1])}\b", text)] == []
    commands = editor.nvim.funcs.getcompletion("CodeLlama ", "cmdline")
    assert [name for name in commands if f"*:CodeLlama-{name}*" not in text] == []
    editor.nvim.command("help codellama")
    assert editor.nvim.current.buffer.name.endswith("doc/codellama.txt")
