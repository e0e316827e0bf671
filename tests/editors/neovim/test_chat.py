"""Chats in a real Neovim: a growing Markdown page, and code blocks inserted from it."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.editors

CODE = "def f(a):\n    return a\n"
ANSWER = "It returns a:\n\n```python\ndef f(a):\n    return a + 1\n```\n\nThat's all."


def said(editor) -> list[str]:
    """Return the lines of the chat page."""
    return editor.lua(
        "for _, b in ipairs(vim.api.nvim_list_bufs()) do if vim.api.nvim_buf_get_name(b):find('^codellama://chat')"
        " then return vim.api.nvim_buf_get_lines(b, 0, -1, false) end end return {}"
    )


def says(editor, *lines: str) -> None:
    editor.until(lambda: said(editor) == list(lines), lambda: f"page {list(lines)!r}, not {said(editor)!r}")


def answered(question: str, answer: str) -> list[str]:
    return ["## You", "", question, "", "## Code Llama", "", *answer.split("\n"), "", "## You", "", ""]


@pytest.fixture
def talk(editor, engine):
    """Ask what the first two lines of a file do."""
    engine.model.answers = [ANSWER]
    editor.open(CODE)
    editor.nvim.command("1,2CodeLlama! chat What does it do?")
    says(editor, *answered("What does it do?", ANSWER))
    return editor


def test_question_is_answered_on_a_page_beside_the_code(talk, engine):
    assert talk.nvim.current.buffer.options["filetype"] == "markdown"
    assert talk.cursor == (len(said(talk)), 0)
    assert engine.model.turns[0][-1] == ("user", "What does it do?")


def test_second_question_continues_the_conversation(talk, engine):
    engine.model.answers = ["You're welcome."]
    talk.keys("iThanks.<C-s>")
    first = answered("What does it do?", ANSWER)[:-1]
    says(talk, *first, *answered("Thanks.", "You're welcome.")[2:])
    assert [role for role, _ in engine.model.turns[1]][-3:] == ["user", "assistant", "user"]
    assert talk.nvim.funcs.mode() == "n"


def test_stopped_response_keeps_its_partial_text(editor, engine):
    engine.model.answers, engine.model.hold = ["One.\nTwo.\nThree."], True
    editor.open(CODE)
    editor.nvim.command("CodeLlama! chat Count.")
    says(editor, "## You", "", "Count.", "", "## Code Llama", "", "One.", "")
    assert editor.nvim.current.buffer.options["modifiable"] is False
    editor.keys("<C-c>")
    says(editor, "## You", "", "Count.", "", "## Code Llama", "", "One.", "", "", "## You", "", "")
    editor.until(lambda: not engine.requests, "the engine hears of it")
    engine.model.go.set()
    editor.until(lambda: "closed chat" in engine.model.log, "the model left alone")
    assert editor.nvim.current.buffer.options["modifiable"] is True
    assert "Two." not in said(editor)


def test_regenerated_response_replaces_the_old_one(talk, engine):
    engine.model.answers = ["Nothing much."]
    talk.keys("ia draft<Esc>")
    talk.nvim.command("CodeLlama again")
    says(talk, *answered("What does it do?", "Nothing much.")[:-1], "a draft")


def test_code_block_is_yanked(talk):
    talk.keys("gg/a + 1<CR>gy")
    talk.until(lambda: talk.nvim.funcs.getreg('"') == "def f(a):\n    return a + 1\n", "the code in the register")


def test_code_block_is_inserted_at_the_cursor_of_the_code(talk):
    talk.keys("gg/a + 1<CR>gi")
    talk.keys("<C-w>p")
    talk.has("def f(a):", "def f(a):", "    return a + 1", "    return a")


def test_code_block_replaces_the_selection_with_one_undo(talk):
    talk.keys("<C-w>pOimport os<Esc><C-w>p")
    talk.keys("gg/a + 1<CR>ga")
    talk.keys("<C-w>p")
    talk.has("import os", "def f(a):", "    return a + 1")
    talk.keys("u")
    talk.has("import os", "def f(a):", "    return a")


def test_command_without_a_code_block_is_reported(talk):
    talk.keys("gggy")
    talk.hears("there is no code block under the cursor")


def test_explain_sends_the_lines_to_the_model(editor, engine):
    engine.model.answers = ["It returns a."]
    editor.open(CODE)
    editor.nvim.command("2CodeLlama explain")
    says(editor, *answered("/explain", "It returns a."))
    assert "    return a" in engine.model.turns[0][-1][1]


def test_explain_code_action_opens_the_conversation(editor, engine):
    engine.model.answers = ["It returns a."]
    editor.open(CODE)
    editor.lua("vim.lsp.buf.code_action({apply = true, filter = function(a) return a.title == 'Explain' end})")
    says(editor, *answered("/explain", "It returns a."))


def test_mentions_files_and_tasks_are_completed(editor):
    (editor.folder / "lib").mkdir(exist_ok=True)
    (editor.folder / "lib" / "helper.py").write_text("")
    editor.open("value_of_it = 1\n")
    editor.nvim.command("CodeLlama! chat")
    complete = "return require('codellama.chat.mentions').omnifunc(0, ...)"
    assert editor.lua(complete, "#s") == ["#selection", "#symbol:"]
    assert editor.lua(complete, "/t") == ["/tests"]
    assert editor.lua(complete, "#symbol:val") == ["#symbol:value_of_it"]
    assert "#file:lib/helper.py" in editor.lua(complete, "#file:lib/")
    editor.keys("iSee #sym<C-x><C-o>")
    editor.until(lambda: said(editor)[-1] == "See #symbol:", lambda: repr(said(editor)))


def test_attachments_are_shown_beside_the_response(editor, engine):
    (editor.folder / "other.py").write_text("secret_sauce = 1\n")
    engine.model.answers = ["A sauce."]
    editor.open(CODE)
    editor.nvim.command("CodeLlama! chat What is in #file:other.py")
    editor.until(lambda: "A sauce." in said(editor), lambda: repr(said(editor)))
    assert "secret_sauce" in engine.model.turns[0][-1][1]
    assert any("other.py" in row and "## Code Llama" in row for row in editor.screen(12))


def test_refused_mention_keeps_the_message_editable(editor):
    (editor.folder / ".env").write_text("KEY=1\n")
    editor.open(CODE)
    editor.nvim.command("CodeLlama! chat What is in #file:.env")
    editor.until(lambda: editor.told, "a word")
    says(editor, "## You", "", "What is in #file:.env")
    assert editor.nvim.current.buffer.options["modifiable"] is True


def test_listed_conversation_can_be_reopened(talk, engine):
    engine.model.answers = ["Two."]
    talk.nvim.command("CodeLlama! chat And this?")
    talk.until(lambda: "Two." in talk.lines, "the second conversation")
    talk.lua(
        "vim.ui.select = function(items, o, done) _G.titles = vim.tbl_map(o.format_item, items);"
        " for i, t in ipairs(_G.titles) do if t:find('^What') then done(items[i]) end end end"
    )
    talk.nvim.command("CodeLlama chats")
    talk.until(lambda: "What does it do?" in talk.lines, "the first one")
    assert sorted(talk.lua("return _G.titles")) == ["And this? (1)", "What does it do? (1)"]


def test_code_block_helper_finds_unclosed_and_longer_fences(editor):
    block_at = "return require('codellama.chat.blocks').block(...)"
    lines = ["````", "```", "a", "```", "````", "b", "```py", "c"]
    assert editor.lua(block_at, lines, 3) == ["```", "a", "```"]
    assert editor.lua(block_at, lines, 6) is None
    assert editor.lua(block_at, lines, 8) == ["c"]
