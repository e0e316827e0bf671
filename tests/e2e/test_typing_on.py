"""Typing on over stdio: which requests reach the engine."""

from __future__ import annotations

import asyncio

from fakes.scripted_model import ScriptedModel
from lsprotocol import types
from support.editor_session import EditorSession, editor_session
from support.fixtures_engine import serving
from support.waiting import until


def begun(answerer: ScriptedModel) -> list[str]:
    """Return the prompts that the engine received."""
    return [line.removeprefix("begin ") for line in answerer.log if line.startswith("begin ")]


async def typed(editor: EditorSession, before: str, after: str = "", invoked: bool = False) -> str | None:
    """Return the completion at the end of ``before``, with ``after`` as the rest of the document."""
    editor.change(before + after)
    row = before.rpartition("\n")[2]
    items = await editor.inline(before.count("\n"), len(row), invoked=invoked)
    return items[0][0] if items else None


async def sources(editor: EditorSession) -> list[tuple[str, str]]:
    return [(record["result"], record["source"]) for record in await editor.trace()]


async def test_typing_what_is_shown_asks_no_model(runtime):
    """Letters, an accepted part, a bracket closed by the editor, and undo."""
    answerer = ScriptedModel(["foo(", "a, b)"])
    async with serving(runtime, answerer), editor_session() as editor:
        editor.open("")
        assert await typed(editor, "x = ", "\n") == "x = foo(a, b)"
        assert await typed(editor, "x = f", "\n") == "x = foo(a, b)"
        assert await typed(editor, "x = foo(", ")\n") == "x = foo(a, b)"
        assert await typed(editor, "x = foo(a, ", ")\n") == "x = foo(a, b)"
        assert await typed(editor, "x = ", "\n") == "x = foo(a, b)"
        assert begun(answerer) == ["x = "]
        assert await sources(editor) == [("shown", "")] + [("shown", "typed")] * 3 + [("shown", "same")]
        assert all(record["outcome"] is None and record["waited_ms"] == 0 for record in (await editor.trace())[1:])


async def test_any_edit_that_the_model_would_see_asks_it_anew(runtime):
    """Changes above, below or after the cursor, or a blank, invalidate the completion."""
    answerer = ScriptedModel(["foo"])
    async with serving(runtime, answerer), editor_session() as editor:
        editor.open("")
        for above, line, below in [
            ("a\n", "x = ", "\nb\n"),
            ("A\n", "x = ", "\nb\n"),
            ("a\n", "x = ", "\nB\n"),
            ("a\n", "x = ", " \nb\n"),
            ("a\n", " x = ", "\nb\n"),
            ("a\n", "x = b", "\nb\n"),
        ]:
            assert await typed(editor, above + line, below) == f"{line}foo" + (" " if below[0] == " " else "")
        assert await sources(editor) == [("shown", "")] * 6
    assert len(begun(answerer)) == 6


async def test_edit_in_another_file_that_the_model_is_shown_asks_it_anew(runtime):
    """The called function has another argument in the other file."""
    answerer, there = ScriptedModel(["1)"]), "file:///project/b.py"
    defined = "def compute(value):\n    return value + value\n"
    async with serving(runtime, answerer), editor_session(settings={"completion": {"contextChars": 2000}}) as editor:
        editor.open(defined, there)
        editor.open("x = compute(")
        for text in (defined, defined.replace("value", "amount"), defined):
            editor.change(text, there)
            assert await editor.inline(0, 12) == [("x = compute(1)", (0, 0, 0, 12))]
        assert await sources(editor) == [("shown", ""), ("shown", ""), ("shown", "same")]
    assert begun(answerer) == ["x = compute("] * 2


async def test_other_settings_ask_anew(runtime):
    answerer = ScriptedModel(["foo"])
    async with serving(runtime, answerer), editor_session() as editor:
        editor.open("")
        await typed(editor, "x = ")
        changed = {"completion": {"maxTokens": 7, "prefetch": False}}
        settings = types.DidChangeConfigurationParams({"codellama": changed})
        editor.client.workspace_did_change_configuration(settings)
        await typed(editor, "x = ")
    assert begun(answerer) == ["x = ", "x = "]


async def test_key_that_agrees_with_what_is_being_written_goes_on_with_it(runtime):
    """Cancelled by the editor at each key, as VS Code does; the older request is answered as cancelled."""
    answerer = ScriptedModel(["fo", "o + 1"], hold=True)
    async with serving(runtime, answerer), editor_session() as editor:
        editor.open("x = ")
        first = editor.request(0, 4, invoked=False, msg_id="first")
        await until(lambda: "x = : fo" in answerer.log)
        editor.change("x = f")
        editor.client.cancel_request(types.CancelParams("first"))
        second = editor.request(0, 5, invoked=False)
        error = (await asyncio.wait_for(asyncio.gather(first, return_exceptions=True), 20))[0]
        assert getattr(error, "code", None) == -32800
        async with asyncio.timeout(20):
            while len(await sources(editor)) < 2:  # until the second has begun to be answered
                pass
        answerer.go.set()
        (item,) = await asyncio.wait_for(second, 20)
        assert await sources(editor) == [("cancelled", ""), ("shown", "running")]
    assert item.insert_text == "x = foo + 1"
    assert begun(answerer) == ["x = "]


async def test_key_that_disagrees_stops_what_is_being_written(runtime):
    """Not cancelled by the editor, as Neovim does not."""
    answerer = ScriptedModel(["fo", "o"], hold=True)
    async with serving(runtime, answerer) as running, editor_session("neovim") as editor:
        editor.open("x = ")
        first = editor.request(0, 4, invoked=False)
        await until(lambda: "x = : fo" in answerer.log)
        editor.change("x = b")
        second = editor.request(0, 5, invoked=False)
        assert await asyncio.wait_for(first, 20) == []
        await until(lambda: running.service.stats.answers["completion"]["cancelled"])
        answerer.go.set()
        (item,) = await asyncio.wait_for(second, 20)
        assert await sources(editor) == [("superseded", ""), ("shown", "")]
    assert item.insert_text == "x = bfoo"
    assert begun(answerer) == ["x = ", "x = b"]
    assert "closed x = " in answerer.log


async def test_what_follows_is_asked_while_a_suggestion_is_looked_at(runtime):
    """As if it were accepted: then it is there at once."""
    answerer = ScriptedModel(["foo"])
    async with serving(runtime, answerer), editor_session(settings={"completion": {"prefetch": True}}) as editor:
        editor.open("x = ")
        assert await editor.inline(0, 4, invoked=False) == [("x = foo", (0, 0, 0, 4))]
        await until(lambda: begun(answerer) == ["x = ", "x = foo"])


async def test_alternatives_by_hand_are_items_of_their_own_and_equal_ones_are_one(runtime):
    answerer = ScriptedModel(["foo"])
    async with serving(runtime, answerer), editor_session(settings={"completion": {"alternatives": 3}}) as editor:
        editor.open("x = ")
        assert await editor.inline(0, 4, invoked=True) == [("x = foo", (0, 0, 0, 4))]
        assert await editor.inline(0, 4, invoked=False) == [("x = foo", (0, 0, 0, 4))]
    assert begun(answerer) == ["x = "] * 3
