"""Code actions and edits over stdio, with real editors' capabilities: a scripted model, then the starter."""

from __future__ import annotations

import asyncio

import pytest
from fakes.scripted_model import block
from lsprotocol import types
from support.editor_session import URI, editor_session
from support.simulated_user import editing_user, json_range, model_cancelled, model_started, plain, problem, span

CODE = "def f(a):\n    x = foo\n    return a\n\n\nprint(f)\n"
GOOD = block("def f(a):\n    x = 1\n    return a + x")
FIX = "Fix: undefined name 'foo'"
UNDEFINED = problem(1, "undefined name 'foo'", 8, 11)
EDITORS = ("vscode", "neovim")


@pytest.mark.parametrize("name", EDITORS)
async def test_fix_action_edits_the_exact_range(runtime, name):
    async with editing_user(runtime, [GOOD], name, stdio=True) as one:
        one.open(CODE)
        edit = (await one.resolve(await one.action(FIX, (1, 9), problems=[UNDEFINED]))).edit
        assert one.edits_of(edit) == [((1, 8, 1, 11), "1"), ((2, 12, 2, 12), " + x")]


@pytest.mark.parametrize("name", EDITORS)
async def test_cancelled_edit_stops_the_generation(runtime, name):
    async with editing_user(runtime, [GOOD], name, hold=True, stdio=True) as one:
        one.open(CODE)
        request = one.send_resolve(await one.action("Simplify 'f'", (1, 9)), "the-one")
        await model_started(one)
        one.client.cancel_request(types.CancelParams("the-one"))
        (error,) = await asyncio.wait_for(asyncio.gather(request, return_exceptions=True), 10)
        assert getattr(error, "code", None) == -32800
        await model_cancelled(one)


@pytest.mark.parametrize("name", EDITORS)
async def test_accepted_edit_by_instruction_is_applied(runtime, name):
    async with editing_user(runtime, [GOOD], name, stdio=True) as one:
        one.open(CODE)
        at = {"textDocument": {"uri": URI}, "range": json_range((1, 0), (1, 0)), "instruction": "add one"}
        answer = plain(await one.ask("codellama/edit", **at))
        assert [found["newText"] for found in answer["hunks"]] == ["1", " + x"]
        assert (await one.ask("codellama/edit/accept", id=answer["id"])).applied
        assert one.text == CODE.replace("foo", "1").replace("return a", "return a + x")


@pytest.mark.starter
@pytest.mark.slow
@pytest.mark.parametrize("name", EDITORS)
async def test_starter_actions_end_in_an_edit_or_a_message(runtime, starter_folder, name):
    """The starter rarely rewrites code correctly, but no action hangs and failures are reported."""
    async with editor_session(name, {"engine": {"graceSeconds": 1}}) as opened:
        opened.open(CODE)
        context = types.CodeActionContext([UNDEFINED])
        params = types.CodeActionParams(types.TextDocumentIdentifier(URI), span((1, 9), (1, 9)), context)
        actions = await opened.client.text_document_code_action_async(params)
        found = [one for one in actions or [] if isinstance(one, types.CodeAction)]
        assert len(found) == 5
        for action in found[:1] + found[-1:]:
            told = len(opened.client.messages)
            resolved = await asyncio.wait_for(opened.client.code_action_resolve_async(action), 300)
            assert (resolved.edit is None) == (len(opened.client.messages) > told)
