"""Keys and menus combined with completions in a real Neovim."""

from __future__ import annotations

import pytest
from editors.neovim.editor import SETTINGS, neovim

pytestmark = pytest.mark.editors


def test_dismissed_completion_returns_after_typing(editor, engine):
    engine.model.says({"x = ": "compute(1)", "x = 1": "00"})
    editor.open()
    editor.keys("ix = ")
    editor.sees("compute(1)")
    editor.keys("<C-]>")
    editor.sees(None)
    editor.settled()
    assert editor.ghost() is None
    editor.keys("1")
    editor.sees("00")


def test_alternatives_are_requested_on_demand(version, engine, tmp_path):
    engine.model.says({"x = ": "one()", ("x = ", 1): "two()", ("x = ", 2): "three()"})
    settings = {"completion": {**SETTINGS["completion"], "alternatives": 3}}
    with neovim(version, tmp_path, {"settings": settings}) as editor:
        editor.open()
        editor.keys("ix = ")
        editor.sees("one()")
        editor.keys("<M-]>")
        editor.sees("two() (2/3)")
        editor.keys("<M-]>")
        editor.sees("three() (3/3)")
        editor.keys("<M-]>")
        editor.sees("one() (1/3)")
        editor.keys("<M-[>")
        editor.sees("three() (3/3)")
        editor.keys("<Tab>")
        editor.has("x = three()")


def test_explicit_request_works_inside_a_word(editor, engine):
    engine.model.says({"prefi": "XX"})
    editor.open("prefix\n")
    editor.keys("$i")
    editor.settled()
    assert editor.ghost() is None
    editor.keys("<M-\\>")
    editor.sees("XX")


def test_explicit_request_without_completion_shows_the_reason(editor, engine):
    editor.open("KEY=\n", name=".env")
    editor.keys("A<M-\\>")
    editor.hears("no suggestion: the file's name says that it may hold keys or passwords")


def test_tab_without_a_completion_inserts_a_tab(editor, engine):
    editor.open()
    editor.nvim.command("setlocal noexpandtab")
    editor.keys("ix<Tab>y")
    editor.has("x\ty")


def test_tab_still_jumps_through_a_snippet(editor, engine):
    editor.open()
    editor.keys("i")
    editor.lua("vim.snippet.expand('f(${1:a}, ${2:b})$0')")
    for key in ("x<Tab>", "y"):
        editor.until(lambda: editor.nvim.funcs.mode() == "s", "a place of the snippet selected")
        editor.keys(key)
    editor.has("f(x, y)")


@pytest.mark.parametrize(
    ("mapping", "result"),
    [
        ("vim.keymap.set('i', '<Tab>', 'theirs')", "theirs"),
        ("vim.keymap.set('i', '<Tab>', function() return '<C-v>u00e4' end, {expr = true})", "ä"),
        ("vim.keymap.set('i', '<Tab>', function() vim.api.nvim_put({'called'}, 'c', false, true) end)", "called"),
        ("vim.cmd([[inoremap <expr> <Tab> 'vim' .. 'script']])", "vimscript"),
    ],
)
def test_previous_mapping_of_the_key_still_works(version, engine, tmp_path, mapping, result):
    engine.model.says({"x = ": "compute(1)"})
    with neovim(version, tmp_path, before=f"{mapping}\n") as editor:
        editor.open()
        editor.keys("i<Tab>")
        editor.has(result)
        editor.keys("<Esc>ccx = ")
        editor.sees("compute(1)")
        editor.keys("<Tab>")
        editor.has("x = compute(1)")


def test_completion_is_hidden_while_a_menu_is_open(editor, engine):
    engine.model.says({"al": "pha = 1", "alpha": " = 1"})
    editor.open("alpha\nalbum\n\n")
    editor.keys("Goal")
    editor.sees("pha = 1")
    editor.keys("<C-n>")
    editor.until(lambda: editor.nvim.funcs.pumvisible() == 1, "a menu")
    editor.sees(None)
    editor.keys("<C-e>")
    editor.until(lambda: editor.nvim.funcs.pumvisible() == 0, "no menu")
    editor.sees("pha = 1")
    assert editor.lines[-1] == "al"


def test_completion_follows_an_accepted_menu_entry(editor, engine):
    engine.model.says({"alpha": " = 1"})
    editor.open("alpha\nalbum\n\n")
    editor.keys("Goal<C-n>")
    editor.until(lambda: editor.nvim.funcs.pumvisible() == 1, "a menu")
    while editor.lines[-1] != "alpha":
        editor.keys("<C-n>")
        editor.nvim.command("redraw")
    editor.keys("<C-y>")
    editor.sees(" = 1")


@pytest.mark.parametrize(
    ("plugin", "opened", "closed"),
    [
        ("cmp", "_G.on.menu_opened()", "_G.on.menu_closed()"),
        (
            "blink.cmp",
            "vim.api.nvim_exec_autocmds('User', {pattern = 'BlinkCmpMenuOpen'})",
            "vim.api.nvim_exec_autocmds('User', {pattern = 'BlinkCmpMenuClose'})",
        ),
    ],
)
def test_completion_is_hidden_while_a_plugin_menu_is_open(version, engine, tmp_path, plugin, opened, closed):
    """The plugins are stand-ins with the documented functions and events."""
    stand_in = (
        "_G.on, _G.open = {}, false; local function shown() return _G.open end;"
        f"package.loaded['{plugin}'] = {{ visible = shown, is_menu_visible = shown,"
        " event = { on = function(_, name, fn) _G.on[name] = fn end } }\n"
    )
    engine.model.says({"x = ": "compute(1)"})
    with neovim(version, tmp_path, before=stand_in) as editor:
        editor.open()
        editor.keys("ix = ")
        editor.sees("compute(1)")
        editor.lua(f"_G.open = true; {opened}")
        editor.sees(None)
        editor.lua(f"_G.open = false; {closed}")
        editor.sees("compute(1)")
