"""Suggestions in a real Neovim: what is on the screen, and what comes to stand in the buffer."""

from __future__ import annotations

import pytest
from editors.neovim.editor import SETTINGS, neovim
from editors.neovim.terminal import watching

pytestmark = pytest.mark.editors

BLOCK = "\n    total = a + b\n    return total"


def test_a_suggestion_is_shown_behind_the_cursor_and_tab_inserts_it(editor, engine):
    engine.model.says({"x = ": "compute(1)"})
    editor.open()
    editor.keys("ix = ")
    editor.sees("compute(1)")
    assert editor.screen(1) == ["x = compute(1)"]
    assert editor.lines == ["x = "]
    editor.keys("<Tab>")
    editor.has("x = compute(1)")
    assert editor.cursor == (1, 14)
    editor.sees(None)


def test_several_lines_push_down_what_stands_below(editor, engine):
    engine.model.says({"def add(a, b):": BLOCK})
    editor.open("\nprint(add)\n")
    editor.keys("idef add(a, b):")
    editor.sees(BLOCK)
    assert editor.screen(4) == ["def add(a, b):", "    total = a + b", "    return total", "print(add)"]
    editor.keys("<Tab>")
    editor.has("def add(a, b):", "    total = a + b", "    return total", "print(add)")
    assert editor.cursor == (3, 16)


def test_in_the_middle_of_a_line_the_rest_moves_to_the_right_and_stays(editor, engine):
    engine.model.says({"y = f(x = ": "g(1)"})
    editor.open("y = f()  # calls\n")
    editor.keys("f)ix = ")
    editor.sees("g(1)")
    assert editor.screen(1) == ["y = f(x = g(1))  # calls"]
    editor.keys("<Tab>")
    editor.has("y = f(x = g(1))  # calls")
    assert editor.cursor == (1, 14)


def test_by_words(editor, engine):
    engine.model.says({"x = ": "first.second(1)"})
    editor.open()
    editor.keys("ix = ")
    editor.sees("first.second(1)")
    for taken, left in (("first", ".second(1)"), (".", "second(1)"), ("second", "(1)")):
        editor.keys("<M-Right>")
        editor.sees(left)
        assert editor.lines[0].endswith(taken)
    assert editor.lines == ["x = first.second"]


def test_by_lines_indentation_included(editor, engine):
    engine.model.says({"def add(a, b):": BLOCK})
    editor.open()
    editor.keys("idef add(a, b):<M-C-Right>")
    editor.sees(BLOCK)
    editor.keys("<M-C-Right>")
    editor.has("def add(a, b):", "    total = a + b")
    editor.sees("\n    return total")
    editor.keys("<M-C-Right>")
    editor.has("def add(a, b):", "    total = a + b", "    return total")


def test_what_is_typed_of_it_goes_from_the_suggestion_without_a_flicker_or_a_request(editor, engine):
    """As a terminal is told: after each flush the line looks the same."""
    engine.model.says({"x = ": "compute(1)"})
    editor.open()
    editor.keys("ix = ")
    editor.sees("compute(1)")
    editor.settled()
    asked = len(editor.trace())
    with watching(editor.nvim) as terminal:
        for n, key in enumerate("comp", 1):
            editor.keys(key)
            editor.sees("compute(1)"[n:])
        flushed = terminal.flushed()
    assert {rows[0] for rows in flushed} == {"x = compute(1)"}
    assert len(flushed) >= 4
    editor.settled()
    assert len(editor.trace()) == asked
    editor.keys("<BS><BS>")
    editor.sees("mpute(1)")
    editor.keys("<Tab>")
    editor.has("x = compute(1)")


def test_a_new_line_with_its_indentation_is_typed_through_too(editor, engine):
    engine.model.says({"def add(a, b):": BLOCK})
    editor.open()
    editor.keys("idef add(a, b):")
    editor.sees(BLOCK)
    editor.keys("<CR>")
    editor.sees("total = a + b\n    return total")
    assert editor.lines == ["def add(a, b):", "    "]


def test_a_bracket_that_the_editor_closes_leads_on_into_the_suggestion(editor, engine):
    """As plugins do that close brackets: the rest of the line has changed, and the server knows how."""
    engine.model.says({"x = ": "f(1, 2)"})
    editor.open()
    editor.nvim.command("inoremap <buffer> ( ()<Left>")
    editor.keys("ix = ")
    editor.sees("f(1, 2)")
    editor.keys("f(")
    editor.sees("1, 2")
    assert engine.model.prompts == ["x = "]
    editor.keys("<Tab>")
    editor.has("x = f(1, 2)")


def test_something_else_typed_takes_it_away(editor, engine):
    engine.model.says({"x = ": "compute(1)"})
    editor.open()
    editor.keys("ix = ")
    editor.sees("compute(1)")
    editor.keys("z")
    editor.sees(None)
    assert editor.screen(1) == ["x = z"]


def test_one_undo_takes_back_all_of_it_and_nothing_else(editor, engine):
    engine.model.says({"def add(a, b):": BLOCK})
    editor.open()
    editor.keys("idef add(a, b):")
    editor.sees(BLOCK)
    editor.keys("<Tab>")
    editor.has("def add(a, b):", "    total = a + b", "    return total")
    editor.keys("<Esc>u")
    editor.has("def add(a, b):")
    editor.keys("u")
    editor.has("")


def test_a_dot_repeats_what_was_typed_and_what_was_accepted(editor, engine):
    engine.model.says({"x = ": "compute(1)"})
    editor.open("\n\n")
    editor.keys("ix = ")
    editor.sees("compute(1)")
    editor.keys("<Tab> + 1<Esc>j.")
    editor.has("x = compute(1) + 1", "x = compute(1) + 1")


def test_autoindent_textwidth_and_expandtab_change_nothing_of_what_is_accepted(editor, engine):
    engine.model.says({"if a:": "\n\tb = 1  # a comment that is far longer than the width\n\tc = 2"})
    editor.open("\n\tx = 1\n")
    editor.nvim.command("setlocal autoindent smartindent textwidth=20 formatoptions+=t noexpandtab tabstop=8")
    editor.keys("iif a:")
    editor.sees("\n        b = 1  # a comment that is far longer than the width\n        c = 2")
    editor.keys("<Tab>")
    editor.has("if a:", "\tb = 1  # a comment that is far longer than the width", "\tc = 2", "\tx = 1")


def test_tabs_are_shown_as_wide_as_they_will_be(editor, engine):
    engine.model.says({"x = [1,": "\t2,\t3]"})
    editor.open()
    editor.nvim.command("setlocal tabstop=8 noexpandtab")
    editor.keys("ix = [1,")
    editor.sees(" 2,      3]")
    assert editor.screen(1) == ["x = [1, 2,      3]"]
    editor.keys("<Tab>")
    editor.has("x = [1,\t2,\t3]")
    assert editor.screen(1) == ["x = [1, 2,      3]"]


def test_many_byte_characters_before_the_cursor_behind_it_and_in_the_suggestion(editor, engine):
    engine.model.says({"s = '😋ä' + ": "'日本' * é"})
    editor.open("s = '😋ä' +  # ß 😋\n")
    editor.keys("f#i<Left>")
    editor.sees("'日本' * é")
    editor.keys("<Tab>")
    editor.has("s = '😋ä' + '日本' * é # ß 😋")
    editor.keys("!")
    editor.has("s = '😋ä' + '日本' * é! # ß 😋")


def test_a_word_of_many_byte_characters(editor, engine):
    engine.model.says({"x = ": "größe日本 + 1"})
    editor.open()
    editor.keys("ix = ")
    editor.sees("größe日本 + 1")
    editor.keys("<M-Right>")
    editor.sees(" + 1")
    assert editor.lines[0] in ("x = größe日本",)


def test_dismissed_it_stays_away_until_something_is_typed(editor, engine):
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


def test_other_suggestions_are_asked_for_when_one_asks_for_the_next(version, engine, tmp_path):
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


def test_asked_by_hand_within_a_word_where_typing_asks_for_nothing(editor, engine):
    engine.model.says({"prefi": "XX"})
    editor.open("prefix\n")
    editor.keys("$i")
    editor.settled()
    assert editor.ghost() is None
    editor.keys("<M-\\>")
    editor.sees("XX")


def test_asked_by_hand_in_vain_it_says_why(editor, engine):
    editor.open("KEY=\n", name=".env")
    editor.keys("A<M-\\>")
    editor.hears("no suggestion: the file's name says that it may hold keys or passwords")


def test_tab_is_a_tab_where_nothing_is_shown(editor, engine):
    editor.open()
    editor.nvim.command("setlocal noexpandtab")
    editor.keys("ix<Tab>y")
    editor.has("x\ty")


def test_tab_still_goes_through_a_snippet(editor, engine):
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
def test_a_key_that_was_mapped_before_still_does_what_it_did(version, engine, tmp_path, mapping, result):
    engine.model.says({"x = ": "compute(1)"})
    with neovim(version, tmp_path, before=f"{mapping}\n") as editor:
        editor.open()
        editor.keys("i<Tab>")
        editor.has(result)
        editor.keys("<Esc>ccx = ")
        editor.sees("compute(1)")
        editor.keys("<Tab>")
        editor.has("x = compute(1)")


def test_while_a_completion_menu_is_open_nothing_is_shown_and_afterwards_it_is_again(editor, engine):
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


def test_accepting_from_the_menu_is_followed_by_a_suggestion(editor, engine):
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
def test_menus_of_plugins_too(version, engine, tmp_path, plugin, opened, closed):
    """Stand-ins with the functions and events that those plugins document."""
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


def test_an_answer_that_comes_late_is_not_shown_and_its_request_was_taken_back(editor, engine):
    engine.model.says({"x = ": "1\n2\n", "x = y": "+1"})
    engine.model.hold = True
    editor.open()
    editor.keys("ix = ")
    assert engine.model.began.wait(10)
    editor.keys("y")
    engine.model.hold = False
    engine.model.go.set()
    editor.sees("+1")
    assert editor.trace()[-2]["result"] in ("cancelled", "superseded")


def test_leaving_insert_mode_takes_it_away_and_cancels_what_is_asked(editor, engine):
    engine.model.says({"x = ": "1\n2\n"})
    engine.model.hold = True
    editor.open()
    editor.keys("ix = ")
    assert engine.model.began.wait(10)
    editor.keys("<Esc>")
    editor.until(lambda: editor.trace()[-1]["result"] == "cancelled", "cancelled")
    engine.model.go.set()
    editor.settled()
    assert editor.ghost() is None


def test_another_window_has_a_suggestion_of_its_own(editor, engine):
    engine.model.says({"x = ": "one()", "y = ": "two()"})
    editor.open("", name="one.py")
    editor.nvim.command("new")
    editor.open("", name="two.py")
    editor.keys("iy = ")
    editor.sees("two()")
    editor.keys("<C-o><C-w>jx = ")
    editor.sees("one()")
    editor.keys("<Tab>")
    editor.has("x = one()")
    editor.keys("<Esc><C-w>k")
    editor.has("y = ")
    assert editor.ghost() is None


def test_two_neovims_share_an_engine(version, editor, engine, tmp_path):
    engine.model.says({"x = ": "one()", "y = ": "two()"})
    editor.open()
    with neovim(version, tmp_path) as second:
        second.open()
        editor.keys("ix = ")
        second.keys("iy = ")
        editor.sees("one()")
        second.sees("two()")
        second.keys("<Tab>")
        second.has("y = two()")
    editor.keys("<Tab>")
    editor.has("x = one()")


def test_nothing_while_a_macro_is_recorded_or_played(editor, engine):
    engine.model.says({"x = ": "compute(1)"})
    editor.open()
    editor.keys("qqix = <Esc>q")
    editor.settled()
    editor.keys("o<Esc>@q")
    editor.has("x = ", "x = ")
    # what an earlier test looked ahead for may still come
    assert [prompt for prompt in engine.model.prompts if prompt.endswith("x = ")] == []


def test_switched_off_for_a_buffer_a_filetype_and_everywhere(editor, engine):
    engine.model.says({"x = ": "compute(1)"})
    editor.open()
    for scope in ("buffer", "filetype", ""):
        editor.nvim.command(f"CodeLlama toggle {scope}")
        editor.keys("ccx = ")
        editor.settled()
        assert editor.ghost() is None
        editor.keys("<Esc>")
        editor.nvim.command(f"CodeLlama toggle {scope}")
        editor.keys("ccx = ")
        editor.sees("compute(1)")
        editor.keys("<Esc>")
    assert editor.told[0] == "Code Llama: suggestions are off in this buffer."
    assert editor.told[-1] == "Code Llama: suggestions are on everywhere."


def test_what_was_shown_and_accepted_is_counted(editor, engine):
    engine.model.says({"x = ": "compute(1)"})
    editor.open()
    editor.keys("ix = ")
    editor.sees("compute(1)")
    editor.keys("<M-Right><Tab>")
    editor.has("x = compute(1)")
    stats = "return vim.lsp.get_clients({name = 'codellama'})[1]:request_sync('codellama/stats', {}, 5000).result"
    editor.until(lambda: editor.lua(stats)["all"]["accepted"] >= 1, lambda: str(editor.lua(stats)))
