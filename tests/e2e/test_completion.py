"""``textDocument/completion`` for editors without inline completion: the same completion as a list entry."""

from __future__ import annotations

import asyncio

from fakes.scripted_model import ScriptedModel
from lsprotocol import types
from support.editor_session import URI, EditorSession, corners, editor_session
from support.fixtures_engine import serving


async def complete(editor: EditorSession, line: int, character: int) -> types.CompletionList:
    params = types.CompletionParams(types.TextDocumentIdentifier(URI), types.Position(line, character))
    answer = await asyncio.wait_for(editor.client.text_document_completion_async(params), 60)
    assert isinstance(answer, types.CompletionList)
    return answer


async def test_entry_replaces_the_word_being_typed(runtime):
    """Editors filter entries by that word; an entry that began after it would be filtered out."""
    async with serving(runtime, ScriptedModel(["turn x", "\n", "y = 1"])), editor_session("emacs@v29.1") as editor:
        editor.open("def f(x):\n    re")
        answer = await complete(editor, 1, 6)
    assert answer.is_incomplete
    (item,) = answer.items
    assert isinstance(item.text_edit, types.TextEdit)
    assert (item.label, item.filter_text) == ("return x", "re")
    assert (item.text_edit.new_text, corners(item.text_edit.range)) == ("return x\ny = 1", (1, 4, 1, 6))


async def test_entry_after_a_space_begins_at_the_cursor(runtime):
    """Emacs counts code points: the emoji is one."""
    async with serving(runtime, ScriptedModel()), editor_session("emacs@v29.1") as editor:
        editor.open("s = '😋' + ")
        (item,) = (await complete(editor, 0, 10)).items
    assert isinstance(item.text_edit, types.TextEdit)
    assert (item.text_edit.new_text, corners(item.text_edit.range)) == ("ab", (0, 10, 0, 10))


async def test_no_suggestion_returns_an_empty_list(runtime):
    async with serving(runtime, ScriptedModel([" ", "\n"])), editor_session("emacs@v29.1") as editor:
        editor.open("x = 1\n")
        assert list((await complete(editor, 0, 5)).items) == []
