"""Engine restarts, and the displayed status."""

from __future__ import annotations

import shutil

import pytest
from editors.neovim.editor import neovim
from editors.neovim.engines import engine_in_a_thread

pytestmark = pytest.mark.editors


def test_restarted_engine_is_used_again(version, tmp_path, monkeypatch):
    """Meanwhile there are no completions and no messages. The server cannot start its own engine."""
    monkeypatch.setenv("CODELLAMA_LS_MODELS", str(tmp_path / "none"))
    with engine_in_a_thread() as engine, neovim(version, tmp_path) as editor:
        engine.model.says({"x = ": "compute(1)", "y = ": "other(2)"})
        editor.open()
        editor.keys("ix = ")
        editor.sees("compute(1)")
        editor.keys("<Tab><Esc>")
        engine.stop()
        phase = "return require('codellama.status').last().phase"
        editor.until(lambda: editor.lua(phase) != "ready", "the engine missed")
        editor.keys("oy = ")
        editor.settled()
        assert editor.ghost() is None
        engine.start()
        editor.nvim.command("normal! a ")
        editor.until(lambda: editor.lua(phase) == "ready", "the engine back")
        editor.keys("<Esc>ccy = ")
        editor.sees("other(2)")


def test_status_line_follows_the_engine(editor, engine):
    engine.model.says({"x = ": "compute(1)"})
    editor.open()
    line = "return require('codellama').statusline()"
    editor.keys("ix = ")
    editor.sees("compute(1)")
    assert editor.lua(line).startswith("Code Llama ") and editor.lua(line).endswith(" ms")
    editor.lua("vim.b.codellama_enabled = false")
    assert editor.lua(line) == "Code Llama off"
    editor.lua("vim.b.codellama_enabled = nil")
    editor.lua("require('codellama.status').take({phase = 'loading', progress = 40, message = '', model = 'starter'})")
    assert editor.lua(line) == "Code Llama 40%"
    editor.lua("require('codellama.status').take({phase = 'ready', progress = 100, message = '', model = 'starter'})")


def floating(editor) -> list[str]:
    """Return the lines of the floating window."""
    return editor.lua(
        "for _, w in ipairs(vim.api.nvim_list_wins()) do if vim.api.nvim_win_get_config(w).relative ~= '' then"
        " return vim.api.nvim_buf_get_lines(vim.api.nvim_win_get_buf(w), 0, -1, false) end end return {}"
    )


def test_status_names_model_and_engine(editor):
    editor.open()
    editor.nvim.command("CodeLlama")
    lines = floating(editor)
    assert lines[0] == "language server: attached to this buffer"
    assert lines[1].startswith("engine: ready") and "model: starter" in lines
    assert lines[-1] == "suggestions here: on"


def test_why_explains_the_last_request(editor, engine):
    engine.model.says({"x = ": "compute(1)"})
    editor.open()
    editor.keys("ix = ")
    editor.sees("compute(1)")
    editor.keys("<Esc>")
    editor.nvim.command("CodeLlama why")
    editor.until(lambda: floating(editor), "a window")
    lines = floating(editor)
    assert lines[:3] == ["10 characters were suggested.", "", "line 1, requested while typing"]
    assert "engine" in lines[-1]


def test_why_reports_disabled_completion_before_any_request(editor):
    editor.open()
    editor.nvim.command("CodeLlama disable buffer")
    editor.nvim.command("CodeLlama why")
    editor.hears("suggestions are turned off here")


def test_stats_count_shown_completions(editor, engine):
    engine.model.says({"x = ": "compute(1)"})
    editor.open()
    editor.keys("ix = ")
    editor.sees("compute(1)")
    editor.keys("<Tab><Esc>")
    editor.settled()
    editor.nvim.command("CodeLlama stats")
    editor.until(lambda: floating(editor), "a window")
    assert floating(editor)[0].startswith("30 days: ")


def test_restarted_server_serves_the_same_files(editor, engine):
    engine.model.says({"x = ": "compute(1)"})
    editor.open()
    client = "local c = require('codellama.client').of(0); return c and c.id"
    before = editor.lua(client)
    editor.nvim.command("CodeLlama restart")
    editor.until(lambda: editor.lua(client) not in (None, before), "another server")
    editor.until(lambda: editor.lua("return (require('codellama.status').last() or {}).phase") == "ready", "ready")
    editor.keys("ix = ")
    editor.sees("compute(1)")


def test_log_opens_read_only(editor):
    editor.open()
    editor.nvim.command("CodeLlama log")
    assert editor.nvim.current.buffer.options["modifiable"] is False


def test_unknown_subcommand_lists_the_available_ones(editor):
    editor.open()
    editor.nvim.command("CodeLlama dance")
    editor.hears("unknown command 'dance'. Commands: accept, again,")
    assert editor.nvim.funcs.getcompletion("CodeLlama tog", "cmdline") == ["toggle"]
    assert editor.nvim.funcs.getcompletion("CodeLlama toggle ", "cmdline") == ["buffer", "filetype"]


def test_files_of_several_folders_share_one_server(editor):
    for name in ("a", "b"):
        (editor.folder / name / ".git").mkdir(parents=True, exist_ok=True)
        editor.open("x = 1\n", name=f"{name}/file.py")
    clients = editor.lua(
        "return vim.tbl_map(function(c) return vim.tbl_map(function(f) return f.name end,"
        " c.workspace_folders) end, vim.lsp.get_clients({name = 'codellama'}))"
    )
    assert len(clients) == 1
    assert {f"{editor.folder}/a", f"{editor.folder}/b"} <= set(clients[0])


def test_missing_program_is_reported_once(version, tmp_path, monkeypatch):
    with neovim(version, tmp_path, {"cmd": ["no-such-codellama-ls"]}) as editor:
        editor.open("x = 1\n", attached=False)
        editor.hears("codellama-ls was not found. Install it")
        editor.open("y = 1\n", attached=False)
        editor.keys("ix<Tab>")
        assert len(editor.told) == 1


def test_program_in_the_opened_folder_is_not_run(version, tmp_path):
    """A repository could contain one."""
    evil = tmp_path / ".venv" / "bin" / "codellama-ls"
    evil.parent.mkdir(parents=True)
    evil.write_text("#!/bin/sh\ntouch ran\n")
    evil.chmod(0o755)
    with neovim(version, tmp_path, before=f"vim.cmd.cd('{tmp_path}'); vim.env.PATH = '/usr/bin:/bin'; ") as editor:
        editor.lua("require('codellama').setup({cmd = false})")
        assert str(tmp_path) not in str(editor.lua("return require('codellama.server').command() or {}"))


def test_checkhealth_lists_program_server_and_keys(editor):
    editor.open()
    editor.nvim.command("checkhealth codellama")
    text = "\n".join(editor.lines)
    for part in (
        "Neovim",
        "-m lsp_server --stdio",
        "codellama-ls 0.1.0",
        "engine: ready, model starter",
        "<Tab>: accept",
    ):
        assert part in text, text


def test_invalid_option_is_reported_and_gets_its_default(version, tmp_path):
    with neovim(version, tmp_path, {"renderer": "magic", "colour": 1}) as editor:
        assert sorted(editor.told) == [
            "Code Llama: 'renderer' must be one of: own, builtin; the default is used.",
            "Code Llama: unknown option 'colour'; the default is used.",
        ]
        assert editor.lua("return require('codellama.config').options.renderer") == "own"


@pytest.mark.starter
@pytest.mark.slow
def test_starter_completion_is_inserted_as_shown(version, starter_folder, tmp_path, runtime):
    """The real starter generates the completion, so its text is not asserted."""
    settings = {"engine": {"graceSeconds": 1}, "completion": {"minConfidence": 0}}
    with neovim(version, tmp_path, {"settings": settings}) as editor:
        editor.open("def add(a, b):\n    \n\n\nprint(add(1, 2))\n")
        editor.keys("jAreturn ")
        editor.until(lambda: editor.ghost(), lambda: str(editor.trace()))
        shown = editor.ghost()
        editor.keys("<Tab>")
        editor.until(
            lambda: "\n".join(editor.lines) == f"def add(a, b):\n    return {shown}\n\n\nprint(add(1, 2))",
            lambda: f"{shown!r} in {editor.lines!r}",
        )
    shutil.rmtree(tmp_path, ignore_errors=True)
