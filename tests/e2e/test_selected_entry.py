"""With an entry selected in the editor's list, a completion must extend it, in its range."""

from __future__ import annotations

import pytest
from fakes.scripted_model import ScriptedModel
from lsprotocol import types
from support.editor_session import editor_session
from support.fixtures_engine import serving


def entry(text: str, start: int, stop: int, line: int = 0) -> types.SelectedCompletionInfo:
    return types.SelectedCompletionInfo(types.Range(types.Position(line, start), types.Position(line, stop)), text)


@pytest.mark.parametrize("invoked", [True, False])
async def test_suggestion_extends_the_selected_entry_in_its_range(runtime, invoked):
    """The prompt is as if the entry had been typed."""
    answerer = ScriptedModel(["(2)"])
    async with serving(runtime, answerer), editor_session() as editor:
        editor.open("x = math.sq\n")
        items = await editor.inline(0, 11, invoked=invoked, selected=entry("sqrt", 9, 11))
    assert items == [("sqrt(2)", (0, 9, 0, 11))]
    assert answerer.log[0] == "begin x = math.sqrt"


async def test_each_selected_entry_has_its_own_completion(runtime):
    answerer = ScriptedModel(["(2)"])
    async with serving(runtime, answerer), editor_session() as editor:
        editor.open("x = math.s")
        for text in ("sqrt", "sin", "sqrt"):
            assert await editor.inline(0, 10, selected=entry(text, 9, 10)) == [(f"{text}(2)", (0, 9, 0, 10))]
        assert await editor.inline(0, 10) == [("x = math.s(2)", (0, 0, 0, 10))]
    prompts = [line for line in answerer.log if line.startswith("begin")]
    assert prompts == ["begin x = math.sqrt", "begin x = math.sin", "begin x = math.s"]


async def test_entry_away_from_the_cursor_is_refused_with_a_reason(runtime):
    """For example in a late request for an earlier line."""
    answerer = ScriptedModel()
    async with serving(runtime, answerer), editor_session() as editor:
        editor.open("x = 1\ny = ")
        assert await editor.inline(1, 4, selected=entry("x", 0, 1)) == []
        (record,) = await editor.trace()
    assert answerer.log == []
    assert record["reason"] == "the entry selected in the editor's completion list is not at the cursor"
