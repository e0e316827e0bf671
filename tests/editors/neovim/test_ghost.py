"""Completions in a real Neovim: the screen and the buffer."""

from __future__ import annotations

import pytest
from editors.neovim.editor import neovim
from editors.neovim.terminal import watching

pytestmark = pytest.mark.editors

BLOCK = "\n    total = a + b\n    return total"


def test_completion_is_shown_after_the_cursor_and_tab_inserts_it(editor, engine):
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


def test_several_lines_move_down_the_lines_below(editor, engine):
    engine.model.says({"def add(a, b):": BLOCK})
    editor.open("\nprint(add)\n")
    editor.keys("idef add(a, b):")
    editor.sees(BLOCK)
    assert editor.screen(4) == ["def add(a, b):", "    total = a + b", "    return total", "print(add)"]
    editor.keys("<Tab>")
    editor.has("def add(a, b):", "    total = a + b", "    return total", "print(add)")
    assert editor.cursor == (3, 16)


def test_mid_line_completion_keeps_the_rest_of_the_line(editor, engine):
    engine.model.says({"y = f(x = ": "g(1)"})
    editor.open("y = f()  # calls\n")
    editor.keys("f)ix = ")
    editor.sees("g(1)")
    assert editor.screen(1) == ["y = f(x = g(1))  # calls"]
    editor.keys("<Tab>")
    editor.has("y = f(x = g(1))  # calls")
    assert editor.cursor == (1, 14)


def test_completion_is_accepted_by_words(editor, engine):
    engine.model.says({"x = ": "first.second(1)"})
    editor.open()
    editor.keys("ix = ")
    editor.sees("first.second(1)")
    for taken, left in (("first", ".second(1)"), (".", "second(1)"), ("second", "(1)")):
        editor.keys("<M-Right>")
        editor.sees(left)
        assert editor.lines[0].endswith(taken)
    assert editor.lines == ["x = first.second"]


def test_completion_is_accepted_by_lines_with_indentation(editor, engine):
    engine.model.says({"def add(a, b):": BLOCK})
    editor.open()
    editor.keys("idef add(a, b):<M-C-Right>")
    editor.sees(BLOCK)
    editor.keys("<M-C-Right>")
    editor.has("def add(a, b):", "    total = a + b")
    editor.sees("\n    return total")
    editor.keys("<M-C-Right>")
    editor.has("def add(a, b):", "    total = a + b", "    return total")


def test_typing_through_needs_no_request_and_does_not_flicker(editor, engine):
    """After each flush the line looks the same."""
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


def test_new_line_with_its_indentation_is_typed_through(editor, engine):
    engine.model.says({"def add(a, b):": BLOCK})
    editor.open()
    editor.keys("idef add(a, b):")
    editor.sees(BLOCK)
    editor.keys("<CR>")
    editor.sees("total = a + b\n    return total")
    assert editor.lines == ["def add(a, b):", "    "]


def test_auto_closed_bracket_keeps_the_completion(editor, engine):
    """Plugins close brackets. The rest of the line has changed, and the server accounts for it."""
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


def test_typing_something_else_dismisses_it(editor, engine):
    engine.model.says({"x = ": "compute(1)"})
    editor.open()
    editor.keys("ix = ")
    editor.sees("compute(1)")
    editor.keys("z")
    editor.sees(None)
    assert editor.screen(1) == ["x = z"]


def test_accepting_is_one_undo_step(editor, engine):
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


def test_dot_repeats_typed_and_accepted_text(editor, engine):
    engine.model.says({"x = ": "compute(1)"})
    editor.open("\n\n")
    editor.keys("ix = ")
    editor.sees("compute(1)")
    editor.keys("<Tab> + 1<Esc>j.")
    editor.has("x = compute(1) + 1", "x = compute(1) + 1")


def test_editor_options_do_not_change_accepted_text(editor, engine):
    engine.model.says({"if a:": "\n\tb = 1  # a comment that is far longer than the width\n\tc = 2"})
    editor.open("\n\tx = 1\n")
    editor.nvim.command("setlocal autoindent smartindent textwidth=20 formatoptions+=t noexpandtab tabstop=8")
    editor.keys("iif a:")
    editor.sees("\n        b = 1  # a comment that is far longer than the width\n        c = 2")
    editor.keys("<Tab>")
    editor.has("if a:", "\tb = 1  # a comment that is far longer than the width", "\tc = 2", "\tx = 1")


def test_tabs_are_shown_at_their_final_width(editor, engine):
    engine.model.says({"x = [1,": "\t2,\t3]"})
    editor.open()
    editor.nvim.command("setlocal tabstop=8 noexpandtab")
    editor.keys("ix = [1,")
    editor.sees(" 2,      3]")
    assert editor.screen(1) == ["x = [1, 2,      3]"]
    editor.keys("<Tab>")
    editor.has("x = [1,\t2,\t3]")
    assert editor.screen(1) == ["x = [1, 2,      3]"]


def test_completion_is_shown_between_multibyte_characters(editor, engine):
    engine.model.says({"s = '😋ä' + ": "'日本' * é"})
    editor.open("s = '😋ä' +  # ß 😋\n")
    editor.keys("f#i<Left>")
    editor.sees("'日本' * é")
    editor.keys("<Tab>")
    editor.has("s = '😋ä' + '日本' * é # ß 😋")
    editor.keys("!")
    editor.has("s = '😋ä' + '日本' * é! # ß 😋")


def test_word_of_multibyte_characters_is_accepted(editor, engine):
    engine.model.says({"x = ": "größe日本 + 1"})
    editor.open()
    editor.keys("ix = ")
    editor.sees("größe日本 + 1")
    editor.keys("<M-Right>")
    editor.sees(" + 1")
    assert editor.lines[0] in ("x = größe日本",)


def first_result(editor, uri: str) -> str:
    return next(one["result"] for one in editor.trace() if one["uri"] == uri)


def test_late_completion_is_cancelled_and_not_shown(editor, engine):
    engine.model.says({"x = ": "1\n2\n", "x = y": "+1"})
    engine.model.hold = True
    editor.open()
    editor.keys("ix = ")
    assert engine.model.began.wait(10)
    editor.keys("y")
    here = editor.lua("return vim.uri_from_bufnr(0)")
    editor.until(lambda: first_result(editor, here) in ("cancelled", "superseded"), "the first request taken back")
    engine.model.hold = False
    engine.model.go.set()
    editor.sees("+1")


def test_leaving_insert_mode_dismisses_and_cancels(editor, engine):
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


def test_each_editor_window_has_its_own_completion(editor, engine):
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


def test_macros_suppress_completions(editor, engine):
    engine.model.says({"x = ": "compute(1)"})
    editor.open()
    editor.keys("qqix = <Esc>q")
    editor.settled()
    editor.keys("o<Esc>@q")
    editor.has("x = ", "x = ")
    # a prefetch of an earlier test may still arrive
    assert [prompt for prompt in engine.model.prompts if prompt.endswith("x = ")] == []


def test_completion_is_disabled_per_buffer_filetype_and_globally(editor, engine):
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


def test_shown_and_accepted_completions_are_counted(editor, engine):
    engine.model.says({"x = ": "compute(1)"})
    editor.open()
    editor.keys("ix = ")
    editor.sees("compute(1)")
    editor.keys("<M-Right><Tab>")
    editor.has("x = compute(1)")
    stats = "return vim.lsp.get_clients({name = 'codellama'})[1]:request_sync('codellama/stats', {}, 5000).result"
    editor.until(lambda: editor.lua(stats)["all"]["accepted"] >= 1, lambda: str(editor.lua(stats)))
