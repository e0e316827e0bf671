"""Typing through completions over stdio: the requests that reach the engine."""

from __future__ import annotations

import asyncio

from fakes.scripted_model import ScriptedModel
from lsprotocol import types
from support.editor_session import EditorSession, editor_session
from support.fixtures_engine import serving
from support.waiting import until


def begun(answerer: ScriptedModel) -> list[str]:
    """Return the prompts received by the engine."""
    return [line.removeprefix("begin ") for line in answerer.log if line.startswith("begin ")]


async def typed(editor: EditorSession, before: str, after: str = "", invoked: bool = False) -> str | None:
    """Return the completion at the end of ``before``, with ``after`` as the rest of the document."""
    editor.change(before + after)
    row = before.rpartition("\n")[2]
    items = await editor.inline(before.count("\n"), len(row), invoked=invoked)
    return items[0][0] if items else None


async def sources(editor: EditorSession) -> list[tuple[str, str]]:
    return [(record["result"], record["source"]) for record in await editor.trace()]


async def test_typing_through_calls_no_model(runtime):
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


async def test_edit_in_the_prompt_calls_the_model_again(runtime):
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


async def test_edit_of_a_snippets_file_calls_the_model_again(runtime):
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


async def test_changed_settings_call_the_model_again(runtime):
    answerer = ScriptedModel(["foo"])
    async with serving(runtime, answerer), editor_session() as editor:
        editor.open("")
        await typed(editor, "x = ")
        changed = {"completion": {"maxTokens": 7, "prefetch": False}}
        settings = types.DidChangeConfigurationParams({"codellama": changed})
        editor.client.workspace_did_change_configuration(settings)
        await typed(editor, "x = ")
    assert begun(answerer) == ["x = ", "x = "]


async def test_matching_key_reuses_the_in_flight_generation(runtime):
    """VS Code cancels a request at each key; the older request is answered as cancelled."""
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
            while len(await sources(editor)) < 2:  # wait until the second response has begun
                pass
        answerer.go.set()
        (item,) = await asyncio.wait_for(second, 20)
        assert await sources(editor) == [("cancelled", ""), ("shown", "running")]
    assert item.insert_text == "x = foo + 1"
    assert begun(answerer) == ["x = "]


async def test_other_key_stops_the_in_flight_generation(runtime):
    """Neovim does not cancel requests."""
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


async def test_next_completion_is_prefetched_while_one_is_shown(runtime):
    """The prefetch assumes that the suggestion is accepted. The next one is then shown immediately."""
    answerer = ScriptedModel(["foo"])
    async with serving(runtime, answerer), editor_session(settings={"completion": {"prefetch": True}}) as editor:
        editor.open("x = ")
        assert await editor.inline(0, 4, invoked=False) == [("x = foo", (0, 0, 0, 4))]
        await until(lambda: begun(answerer) == ["x = ", "x = foo"])


async def test_equal_alternatives_on_request_are_returned_once(runtime):
    answerer = ScriptedModel(["foo"])
    async with serving(runtime, answerer), editor_session(settings={"completion": {"alternatives": 3}}) as editor:
        editor.open("x = ")
        assert await editor.inline(0, 4, invoked=True) == [("x = foo", (0, 0, 0, 4))]
        assert await editor.inline(0, 4, invoked=False) == [("x = foo", (0, 0, 0, 4))]
    assert begun(answerer) == ["x = "] * 3
