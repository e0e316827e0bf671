"""Edits and tasks in a real Neovim: drawn during generation, accepted hunk by hunk."""

from __future__ import annotations

import subprocess

import pytest
from editors.neovim.editor import neovim
from fakes.scripted_model import block

pytestmark = pytest.mark.editors

CODE = "def f(a):\n    x = foo\n    return a\n\n\nprint(f)\n"
LINES = CODE.splitlines()
GOOD = block("def f(a):\n    x = 1\n    return a + x")
EDITED = ["def f(a):", "    x = 1", "    return a + x", "", "", "print(f)"]
DOCUMENTED = block('def f(a):\n    """Return a."""\n    x = foo\n    return a')


def drawn(editor) -> list[str]:
    """Return the proposed lines."""
    return editor.lua(
        "local found = {}; for _, m in ipairs(vim.api.nvim_buf_get_extmarks(0,"
        " vim.api.nvim_create_namespace('codellama.proposal'), 0, -1, {details = true})) do"
        " for _, line in ipairs(m[4].virt_lines or {}) do"
        " table.insert(found, vim.iter(line):map(function(c) return c[1] end):join('')) end end; return found"
    )


def proposes(editor, *lines: str) -> None:
    """Wait for the end of the response."""
    editor.until(lambda: drawn(editor) == list(lines), lambda: f"proposed {list(lines)!r}, not {drawn(editor)!r}")
    editor.settled()
    assert drawn(editor) == list(lines)


def open_code(editor, engine, *answers: str) -> None:
    engine.model.answers = list(answers)
    editor.open(CODE)


def test_proposed_edit_is_drawn_without_changing_the_buffer(editor, engine):
    open_code(editor, engine, GOOD)
    editor.nvim.command("CodeLlama edit add one")
    proposes(editor, "    x = 1", "    return a + x")
    assert editor.screen(5) == [
        "def f(a):",
        "    x = foo   \\a accept  \\r reject  \\A accept all  \\R reject all",
        "    x = 1",
        "    return a",
        "    return a + x",
    ]
    assert editor.lines == LINES
    asked = engine.model.turns[0][-1][1]
    assert "add one" in asked and "def f(a):" in asked and "print(f)" not in asked


def test_accepting_all_is_one_undo_step(editor, engine):
    open_code(editor, engine, GOOD)
    editor.nvim.command("CodeLlama edit add one")
    proposes(editor, "    x = 1", "    return a + x")
    editor.keys("\\A")
    editor.has(*EDITED)
    proposes(editor)
    editor.keys("u")
    editor.has(*LINES)


def test_hunks_are_accepted_and_rejected_separately(editor, engine):
    open_code(editor, engine, GOOD)
    editor.nvim.command("CodeLlama edit add one")
    proposes(editor, "    x = 1", "    return a + x")
    editor.keys("]h\\a")
    editor.has("def f(a):", "    x = 1", "    return a", "", "", "print(f)")
    proposes(editor, "    return a + x")
    editor.keys("]h\\r")
    proposes(editor)
    assert editor.lines == ["def f(a):", "    x = 1", "    return a", "", "", "print(f)"]


@pytest.mark.parametrize(
    ("where", "new", "screen"),
    [
        ((0, 0, 0, 0), "import os\n\n", ["import os", "", "a = 1", "b = (2,", "     3)", "c = 4"]),
        ((1, 0, 1, 0), "x = 0\n", ["a = 1", "x = 0", "b = (2,", "     3)", "c = 4"]),
        ((0, 5, 0, 5), "\nx = 0", ["a = 1", "x = 0", "b = (2,", "     3)", "c = 4"]),
        ((4, 0, 4, 0), "x = 0\n", ["a = 1", "b = (2,", "     3)", "c = 4", "x = 0"]),
        ((1, 0, 3, 0), "", ["a = 1", "b = (2,", "     3)", "c = 4"]),
        ((1, 0, 3, 0), "b = 5\n", ["a = 1", "b = (2,", "     3)", "b = 5", "c = 4"]),
        ((1, 7, 2, 5), " ", ["a = 1", "b = (2,", "     3)", "b = (2, 3)", "c = 4"]),
        ((3, 4, 3, 5), "55\t5", ["a = 1", "b = (2,", "     3)", "c = 4", "c = 55  5"]),
    ],
)
def test_every_kind_of_change_is_drawn_in_position(editor, where, new, screen):
    """Deleted text stays, struck out; new text is drawn below it or in position."""
    editor.open("a = 1\nb = (2,\n     3)\nc = 4\n", attached=False)
    first, column, last, stop = where
    hunk = {
        "id": 1,
        "newText": new,
        "range": {"start": {"line": first, "character": column}, "end": {"line": last, "character": stop}},
    }
    editor.lua(
        "local p = require('codellama.proposal'); local function nothing() end; p.show(p.begin({bufnr ="
        " vim.api.nvim_get_current_buf(), encoding = 'utf-8', hunks = {}, take = nothing, refuse = nothing,"
        " give_up = nothing}), {...})",
        hunk,
    )
    editor.until(lambda: editor.screen(len(screen)) == screen, lambda: repr(editor.screen(8)))
    editor.nvim.command("CodeLlama cancel")
    assert drawn(editor) == []


def test_edit_code_action_prompts_for_the_instruction(editor, engine):
    open_code(editor, engine, GOOD)
    editor.lua(
        "vim.ui.input = function(_, done) done('add one') end; vim.lsp.buf.code_action({apply = true,"
        " filter = function(a) return a.title:find('^Edit with') ~= nil end})"
    )
    proposes(editor, "    x = 1", "    return a + x")
    assert "add one" in engine.model.turns[0][-1][1]


def test_commit_message_describes_staged_changes(version, engine, tmp_path):
    engine.model.says({})
    engine.model.answers = ["Add f\n\nIt returns a.\n"]
    (tmp_path / "code.py").write_text(CODE)
    for words in (["init", "-q"], ["add", "code.py"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    with neovim(version, tmp_path) as editor:
        editor.open(name="COMMIT.txt")
        editor.nvim.command("CodeLlama commit")
        editor.has("Add f", "", "It returns a.", "")
    assert "+def f(a):" in engine.model.turns[0][-1][1]


def test_range_limits_the_edit_to_its_lines(editor, engine):
    open_code(editor, engine, block("print(f, 1)"))
    editor.nvim.command("6CodeLlama edit add 1")
    proposes(editor, "print(f, 1)")
    assert "def f" not in engine.model.turns[0][-1][1].split("```")[1]
    editor.keys("\\A")
    editor.has(*LINES[:-1], "print(f, 1)")


def test_user_mapping_on_a_selection_prompts_for_the_instruction(editor, engine):
    open_code(editor, engine, block("print(f, 1)"))
    editor.lua(
        "vim.keymap.set({'n', 'x'}, '<Leader>e', '<Plug>(codellama-edit)');"
        "vim.ui.input = function(o, done) _G.prompt = o.prompt; done('add 1') end"
    )
    editor.keys("GV\\e")
    proposes(editor, "print(f, 1)")
    assert editor.lua("return _G.prompt") == "Code Llama, edit: "
    assert "add 1" in engine.model.turns[0][-1][1]


def test_finished_hunks_are_drawn_during_generation(editor, engine):
    engine.model.hold = True
    open_code(editor, engine, GOOD)
    editor.nvim.command("CodeLlama edit add one")
    assert engine.model.began.wait(10)
    engine.model.go.set()
    proposes(editor, "    x = 1", "    return a + x")


def test_typing_in_other_lines_is_kept(editor, engine):
    open_code(editor, engine, GOOD)
    editor.nvim.command("CodeLlama edit add one")
    proposes(editor, "    x = 1", "    return a + x")
    editor.keys("ggOimport os<Esc>")
    editor.has("import os", *LINES)
    editor.keys("\\A")
    editor.has("import os", *EDITED)


def test_conflicting_typing_wins_with_a_message(editor, engine):
    open_code(editor, engine, GOOD)
    editor.nvim.command("CodeLlama edit add one")
    proposes(editor, "    x = 1", "    return a + x")
    editor.keys("2GA.bar<Esc>\\a")
    editor.hears("The document was changed in the same lines meanwhile.")
    assert editor.lines[1] == "    x = foo.bar"


def test_edit_is_refined_in_the_same_conversation(editor, engine):
    open_code(editor, engine, GOOD, block("def f(a):\n    x = 2\n    return a"))
    editor.nvim.command("CodeLlama edit add one")
    proposes(editor, "    x = 1", "    return a + x")
    editor.nvim.command("CodeLlama refine two rather")
    proposes(editor, "    x = 2")
    assert engine.model.turns[1][-1][1].endswith("two rather")
    editor.keys("\\A")
    editor.has("def f(a):", "    x = 2", "    return a", "", "", "print(f)")


def test_cancelling_stops_the_model(editor, engine):
    engine.model.hold = True
    open_code(editor, engine, GOOD)
    editor.nvim.command("CodeLlama edit add one")
    assert engine.model.began.wait(10)
    editor.nvim.command("CodeLlama cancel")
    editor.until(lambda: not engine.requests, "the engine hears of it")
    engine.model.go.set()
    editor.until(lambda: "closed chat" in engine.model.log, "the model left alone")
    assert drawn(editor) == [] and editor.lines == LINES


def test_empty_edit_is_reported(editor, engine):
    open_code(editor, engine, "I'd rather not.\n", "No.\n")
    editor.nvim.command("CodeLlama edit add one")
    editor.until(lambda: editor.told, "a word")
    assert editor.lines == LINES and drawn(editor) == []
    assert editor.lua("return vim.fn.maparg('<LocalLeader>a', 'n')") == ""


def test_docstring_is_drawn_in_position_and_accepted(editor, engine):
    open_code(editor, engine, DOCUMENTED)
    editor.nvim.command("CodeLlama doc")
    proposes(editor, '    """Return a."""')
    assert editor.screen(3)[1] == '    """Return a."""'
    editor.keys("j\\A")
    editor.has("def f(a):", '    """Return a."""', *LINES[1:])
    editor.keys("u")
    editor.has(*LINES)


DIAGNOSTIC = (
    "vim.diagnostic.set(vim.api.nvim_create_namespace('other'), 0, {{lnum = 1, col = 8, end_col = 11,"
    " message = \"undefined name 'foo'\", source = 'linter'}})"
)


def test_diagnostic_of_another_tool_is_fixed(editor, engine):
    open_code(editor, engine, GOOD)
    editor.lua(DIAGNOSTIC)
    editor.keys("j")
    editor.nvim.command("CodeLlama fix")
    proposes(editor, "    x = 1", "    return a + x")
    assert "undefined name 'foo'" in engine.model.turns[0][-1][1]
    editor.keys("\\A")
    editor.has(*EDITED)


def test_fix_without_a_diagnostic_is_refused(editor, engine):
    open_code(editor, engine)
    editor.nvim.command("CodeLlama fix")
    editor.hears("there is no diagnostic on this line")


def test_rejected_task_changes_nothing(editor, engine):
    open_code(editor, engine, DOCUMENTED)
    editor.nvim.command("CodeLlama doc")
    proposes(editor, '    """Return a."""')
    editor.keys("\\R")
    proposes(editor)
    assert editor.lines == LINES


def test_tests_open_in_a_new_file_and_window(editor, engine):
    written = "from code_1 import f\n\n\ndef test_f():\n    assert f(1) == 1"
    engine.model.answers = [block(written)]
    editor.open(CODE, name="code_1.py")
    editor.nvim.command("CodeLlama tests")
    editor.until(lambda: editor.nvim.current.buffer.name.endswith("/test_code_1.py"), "the new file")
    editor.has(*written.splitlines())
    assert len(editor.nvim.windows) == 2


def test_code_actions_offer_the_same_tasks(editor, engine):
    """Neovim sends a server only its own diagnostics; the plugin adds those of other servers."""
    open_code(editor, engine, GOOD)
    editor.lua(DIAGNOSTIC)
    editor.keys("j")
    editor.lua(
        "vim.fn.confirm = function(text) _G.confirmed = text; return 1 end;"
        "vim.lsp.buf.code_action({apply = true, filter = function(a) return a.title:find('^Fix') ~= nil end})"
    )
    editor.has(*EDITED)
    if editor.version == "0.12":
        assert "Fix: undefined name 'foo'" in editor.lua("return _G.confirmed")
