"""``textDocument/inlineCompletion`` over stdio: exact text and range, for every kind of document."""

from __future__ import annotations

import asyncio

import pytest
from fakes.scripted_model import ScriptedModel
from lsprotocol import types
from support.editor_session import URI, editor_session
from support.fixtures_engine import serving
from support.waiting import until


@pytest.mark.parametrize(
    ("text", "line", "character", "item"),
    [
        ("x = ", 0, 4, ("x = ab", (0, 0, 0, 4))),
        ("f()\n", 0, 2, ("f(ab)", (0, 0, 0, 3))),
        ("x\ny = ", 1, 4, ("y = ab", (1, 0, 1, 4))),
        ("\tif x:\n\t\t", 1, 2, ("\t\tab", (1, 0, 1, 2))),
        # code units: UTF-16 in VS Code
        ("s = '😋' + ", 0, 11, ("s = '😋' + ab", (0, 0, 0, 11))),
        # neither a form feed nor U+2028 ends a line
        ("a\fb\n\f\nx = ", 2, 4, ("x = ab", (2, 0, 2, 4))),
        ("# a\u2028b\nx = ", 1, 4, ("x = ab", (1, 0, 1, 4))),
        ("a = 1\nlast = ", 1, 7, ("last = ab", (1, 0, 1, 7))),
        # positions outside the document are clamped (Neovim's native client sends such positions)
        ("x = ", 7, 3, ("x = ab", (0, 0, 0, 4))),
        ("a = 1\r\nx = \r\nb = 2\r\n", 1, 4, ("x = ab", (1, 0, 1, 4))),
    ],
)
async def test_item_covers_the_whole_line(runtime, text, line, character, item):
    if line == 7:
        item = ("x =ab ", (0, 0, 0, 4))
    async with serving(runtime, ScriptedModel()), editor_session() as editor:
        editor.open(text)
        assert await editor.inline(line, character) == [item]


async def test_positions_are_in_bytes_for_neovim(runtime):
    async with serving(runtime, ScriptedModel()), editor_session("neovim") as editor:
        editor.open("s = '😋' + ")
        assert await editor.inline(0, 13) == [("s = '😋' + ab", (0, 0, 0, 13))]


@pytest.mark.parametrize(("name", "line_end"), [("vscode", "\r\n"), ("neovim", "\n")])
async def test_line_endings_follow_the_document_or_the_editor(runtime, name, line_end):
    """Neovim would insert a CR as text; VS Code takes either."""
    async with serving(runtime, ScriptedModel(["\n", "    return 1"])), editor_session(name) as editor:
        editor.open("def f():\r\n\r\nx = 1\r\n")
        assert await editor.inline(0, 8) == [(f"def f():{line_end}    return 1", (0, 0, 0, 8))]


async def test_empty_file_gets_no_completion(runtime):
    answerer = ScriptedModel()
    async with serving(runtime, answerer), editor_session() as editor:
        editor.open("")
        assert await editor.inline(0, 0) == []
    assert answerer.log == []


async def test_unsaved_changes_are_used(runtime):
    async with serving(runtime, ScriptedModel()), editor_session() as editor:
        editor.open("x = ")
        editor.change("x = 1\nyy = ")
        assert await editor.inline(1, 5) == [("yy = ab", (1, 0, 1, 5))]


async def test_untitled_document_is_completed(runtime):
    async with serving(runtime, ScriptedModel()), editor_session() as editor:
        editor.open("x = ", uri="untitled:Untitled-1")
        assert await editor.inline(0, 4, uri="untitled:Untitled-1") == [("x = ab", (0, 0, 0, 4))]


async def test_unopened_document_returns_an_empty_list(runtime):
    async with serving(runtime, ScriptedModel()), editor_session() as editor:
        assert await editor.inline(0, 0, uri="file:///etc/hostname") == []


async def test_one_megabyte_file_is_completed(runtime):
    """The prompt has a prefix window that starts at a line and has at most the configured size."""
    answerer = ScriptedModel()
    text = "value = compute(1, 2, 3)\n" * 40_000
    async with serving(runtime, answerer), editor_session() as editor:
        editor.open(text + "x = \n" + text)
        assert await editor.inline(40_000, 4) == [("x = ab", (40_000, 0, 40_000, 4))]
    prompt = answerer.log[0].removeprefix("begin ")
    assert prompt.startswith("value = ") and prompt.endswith("\nx = ") and len(prompt) <= 2_000


async def test_only_the_last_of_four_requests_in_a_row_generates(runtime):
    """All are answered. Neovim cancels none, and all arrive before the first one's debounce ends."""
    answerer = ScriptedModel()
    async with serving(runtime, answerer), editor_session("neovim", {"completion": {"debounceMs": 1000}}) as editor:
        editor.open("")
        answered: list[str] = []
        requests = []
        for n, name in enumerate("ABCD"):
            editor.change("x" * (n + 1))
            request = editor.request(0, n + 1, invoked=False)
            request.add_done_callback(lambda _, name=name: answered.append(name))
            requests.append(request)
        answers = await asyncio.wait_for(asyncio.gather(*requests), 20)
        results = [record["result"] for record in await editor.trace()]
    assert [len(items) for items in answers] == [0, 0, 0, 1]
    assert answers[3][0].insert_text == "xxxxab"
    assert answered == list("ABCD")
    assert [line for line in answerer.log if line.startswith("begin")] == ["begin xxxx"]
    assert results == ["superseded", "superseded", "superseded", "shown"]


async def test_superseded_generation_is_stopped_at_the_engine(runtime):
    answerer = ScriptedModel(["1", "2", "3"], hold=True)
    async with serving(runtime, answerer) as engine, editor_session() as editor:
        editor.open("x = ")
        first = editor.request(0, 4)
        assert await asyncio.to_thread(answerer.began.wait, 10)
        second = editor.request(0, 4)
        assert await asyncio.wait_for(first, 10) == []
        # the second waits behind the first, or runs already if the first was stopped before its next token
        begun = "begin x = "
        await until(lambda: engine.service.scheduler.waiting == 2 or answerer.log.count(begun) == 2)
        answerer.go.set()
        (item,) = await asyncio.wait_for(second, 10)
    assert item.insert_text == "x = 123"
    assert answerer.log.count(begun) == 2
    assert "closed x = " in answerer.log


async def test_cancelled_request_fails_and_frees_the_engine(runtime):
    answerer = ScriptedModel(["1", "2", "3"], hold=True)
    async with serving(runtime, answerer), editor_session() as editor:
        editor.open("x = ")
        request = editor.request(0, 4, msg_id="the-one")
        assert await asyncio.to_thread(answerer.began.wait, 10)
        editor.client.cancel_request(types.CancelParams("the-one"))
        error = (await asyncio.wait_for(asyncio.gather(request, return_exceptions=True), 10))[0]
        assert getattr(error, "code", None) == -32800
        answerer.go.set()
        assert await asyncio.to_thread(answerer.closed.wait, 10)
        assert "x = : 3" not in answerer.log
        assert (await editor.trace())[-1]["result"] == "cancelled"


async def test_engine_refusal_returns_an_empty_list_with_its_reason(runtime):
    async with serving(runtime, ScriptedModel(["boom"])), editor_session() as editor:
        editor.open("x = ")
        assert await editor.inline(0, 4) == []
        record = (await editor.trace())[-1]
    assert (record["result"], record["reason"]) == (
        "failed",
        "The engine failed at this request (RuntimeError); its log has the details.",
    )


async def test_trace_has_the_time_of_each_stage_and_no_code(runtime):
    """Without a known typing rate, the debounce after a dot is half of the usual gap."""
    async with serving(runtime, ScriptedModel()), editor_session() as editor:
        editor.open("secret.")
        await editor.inline(0, 7, invoked=False)
        (record,) = await editor.trace()
    assert (record["uri"], record["line"], record["invoked"], record["amount"]) == (URI, 0, False, "line")
    assert (record["generated"], record["shown"], record["waited_ms"]) == (2, 2, 90)
    assert (record["result"], record["source"], record["filter"]) == ("shown", "", "")
    assert set(record["stages"]) == {"gate", "cache", "debounce", "engine", "shape"}
    assert record["total_ms"] >= record["stages"]["debounce"] >= 90
    assert "secret" not in str(record)


async def test_server_survives_garbage_on_the_wire(runtime):
    async with serving(runtime, ScriptedModel()), editor_session() as editor:
        editor.open("x = ")
        server = editor.client._server
        assert server is not None and server.stdin is not None
        server.stdin.write(b"Content-Length: 9\r\n\r\nnot json!")
        unknown = editor.client.protocol.send_request_async("codellama/nonsense", {})
        error = (await asyncio.gather(unknown, return_exceptions=True))[0]
        assert getattr(error, "code", None) == -32601
        assert await editor.inline(0, 4) == [("x = ab", (0, 0, 0, 4))]


async def test_document_with_the_longest_path_is_completed(runtime):
    """An escaped byte of the 4,096-byte path takes three characters of the URI."""
    uri = "file:///" + "/".join(["%C3%A9" * 127] * 16) + "/a.py"
    async with serving(runtime, ScriptedModel(["1"])), editor_session() as editor:
        editor.open("x = ", uri)
        assert await editor.inline(0, 4, uri=uri) == [("x = 1", (0, 0, 0, 4))]
