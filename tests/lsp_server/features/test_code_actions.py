"""Code actions: the list, the exact edits, and every failure.

A real server and engine service over LSP, with the capabilities of real editors; only the model is scripted.
"""

from __future__ import annotations

import asyncio

import pytest
from fakes.scripted_model import block
from lsprotocol import types
from support.code_actions import BODY, CODE, EDITORS, FIX, GOOD, OTHERS, UNDEFINED, titles
from support.simulated_user import editing_user, model_cancelled, model_started, problem
from support.waiting import until


@pytest.mark.parametrize(
    ("start", "stop", "problems", "listed"),
    [
        ((4, 9), None, [], [*OTHERS, "Explain"]),
        ((4, 9), None, [UNDEFINED], [FIX, *OTHERS, "Explain"]),
        ((4, 9), None, [UNDEFINED, UNDEFINED], [FIX, *OTHERS, "Explain"]),
        ((0, 0), None, [], ["Explain"]),
        ((0, 0), None, [problem(0, "'os' imported but unused")], ["Fix: 'os' imported but unused", "Explain"]),
        ((4, 0), (5, 4), [], ["Simplify the selection", "Explain"]),
        ((3, 0), (6, 0), [], [*OTHERS, "Explain"]),
        ((1, 0), None, [], ["Explain"]),
    ],
)
async def test_actions_are_listed_without_the_model(runtime, start, stop, problems, listed):
    async with editing_user(runtime) as one:
        one.open(CODE)
        assert titles(await one.actions(start, stop, problems)) == listed
        assert one.model.log == []


@pytest.mark.parametrize(
    ("text", "line", "listed"),
    [
        (
            'def f(a: int) -> int:\n    """It."""\n    return a\n',
            2,
            ["Write tests for 'f' in test_a.py", "Simplify 'f'"],
        ),
        (
            "def f(a: int) -> int:\n    # TODO: more\n    return a\n",
            1,
            ["Document 'f'", "Write tests for 'f' in test_a.py", "Simplify 'f'", "Complete the TODO"],
        ),
        ("x = 1  # FIXME\n", 0, ["Complete the FIXME"]),
        ("", 0, []),
    ],
)
async def test_existing_docstrings_and_tests_are_not_offered(runtime, text, line, listed):
    async with editing_user(runtime) as one:
        one.open(text)
        assert [title for title in titles(await one.actions((line, 0))) if title != "Explain"] == listed


@pytest.mark.parametrize(
    ("only", "listed"),
    [
        (["quickfix"], [FIX]),
        (["refactor"], OTHERS),
        (["refactor.rewrite.tests"], OTHERS[2:3]),
        (["source.organizeImports"], []),
        ([""], [FIX, *OTHERS]),
    ],
)
async def test_only_requested_kinds_are_listed(runtime, only, listed):
    async with editing_user(runtime) as one:
        one.open(CODE)
        assert titles(await one.actions((4, 9), problems=[UNDEFINED], only=only)) == listed


async def test_server_announces_code_actions(runtime):
    async with editing_user(runtime) as one:
        provider = one.session.result.capabilities.code_action_provider
    assert isinstance(provider, types.CodeActionOptions)
    assert provider.resolve_provider and list(provider.code_action_kinds or ()) == ["quickfix", "refactor.rewrite"]


@pytest.mark.parametrize("uri", ["file:///project/.env", "git:/project/a.py", "file:///project/id_rsa"])
async def test_private_document_has_no_actions(runtime, uri):
    async with editing_user(runtime) as one:
        one.session.open(CODE, uri)
        params = types.CodeActionParams(
            types.TextDocumentIdentifier(uri),
            types.Range(types.Position(4, 9), types.Position(4, 9)),
            types.CodeActionContext([UNDEFINED]),
        )
        assert not await one.client.text_document_code_action_async(params)


@pytest.mark.parametrize("name", EDITORS)
async def test_fix_is_a_minimal_versioned_edit(runtime, name):
    async with editing_user(runtime, [GOOD], name) as one:
        one.open(CODE)
        action = await one.action(FIX, (4, 9), problems=[UNDEFINED])
        assert action.edit is None and action.kind == "quickfix"
        assert [found.message for found in action.diagnostics] == ['"foo" is not defined']
        edit = (await one.resolve(action)).edit
        assert one.edits_of(edit) == [((4, 8, 4, 11), "1"), ((5, 12, 5, 12), " + x")]
        assert edit.change_annotations is None  # neither of them asks before it applies an action's edit
    (asked,) = one.model.turns
    assert [role for role, _ in asked] == ["system", "user"]
    assert '"foo" is not defined' in asked[1][1] and "`x = foo`" in asked[1][1] and "print(os" not in asked[1][1]
    assert one.model.asked[0][2].prediction == "```python\ndef f(a):\n    x = foo\n    return a\n```"


@pytest.mark.parametrize(
    ("text", "where", "edits"),
    [
        (
            "class A:\r\n\tdef f(self, a):\r\n\t\treturn '😋', a",
            (2, 3),
            [((2, 15, 2, 16), "b"), ((2, 16, 2, 16), "\r\n\t\t# end")],
        ),
        (
            "class A:\n    def f(self, a):\n        return '😋', a\n\n",
            (2, 9),
            [((2, 21, 2, 22), "b"), ((2, 22, 2, 22), "\n        # end")],
        ),
    ],
)
async def test_line_ends_tabs_emoji_and_last_line_are_kept(runtime, text, where, edits):
    answer = block("def f(self, a):\n    return '😋', b\n    # end")
    async with editing_user(runtime, [answer]) as one:
        one.open("b = 1\n".replace("\n", "\r\n" if "\r" in text else "\n") + text)
        action = await one.action("Simplify 'f'", (where[0] + 1, where[1]))
        edit = (await one.resolve(action)).edit
        found = one.edits_of(edit)
    lines = [((a + 1, b, c + 1, d), new) for (a, b, c, d), new in edits]
    assert [new for _, new in found] in ([new for _, new in lines], ["".join(new for _, new in lines)])
    assert (found[0][0][:2], found[-1][0][2:]) == (lines[0][0][:2], lines[-1][0][2:])


async def test_edit_needs_confirmation_if_supported(runtime):
    def honours(can: types.ClientCapabilities) -> None:
        assert can.text_document is not None and can.text_document.code_action is not None
        can.text_document.code_action.honors_change_annotations = True

    async with editing_user(runtime, [GOOD], adjust=honours) as one:
        one.open(CODE)
        edit = (await one.resolve(await one.action("Simplify 'f'", (4, 9)))).edit
    assert edit.change_annotations is not None
    (annotation,) = edit.change_annotations.values()
    assert annotation.needs_confirmation and annotation.label == "Simplify 'f'"
    assert {one.annotation_id for one in edit.document_changes[0].edits} == set(edit.change_annotations)


async def test_invalid_output_is_retried_once(runtime):
    bad = block(BODY.format("bar", "a"))
    async with editing_user(runtime, [bad, GOOD]) as one:
        one.open(CODE)
        edit = (await one.resolve(await one.action(FIX, (4, 9), problems=[UNDEFINED]))).edit
        assert one.result(edit) == CODE.replace("foo", "1").replace("return a", "return a + x")
    again = one.model.turns[1]
    assert [role for role, _ in again] == ["system", "user", "assistant", "user"]
    assert again[2][1] == bad
    assert again[3][1].startswith(
        "That can't be used. The answer brings a new problem: undefined name 'bar', in `x = bar`."
    )


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (block(BODY.format("foo", "a + 1")), "The problem is still there: undefined name 'foo', in `x = foo`."),
        (
            "I am only a small model.",
            "The answer does not parse: it is no valid Python: invalid syntax, in `I am only a small model.`.",
        ),
        ("```python\ndef f(a):\n", "The answer broke off before its end."),
        ("", "The answer holds no code."),
    ],
)
async def test_second_invalid_output_is_reported(runtime, answer, why):
    async with editing_user(runtime, [answer, answer, GOOD]) as one:
        one.model.pieces = []
        one.open(CODE)
        action = await one.resolve(await one.action(FIX, (4, 9), problems=[UNDEFINED]))
        assert action.edit is None
        await until(lambda: one.shown_messages)
        assert one.shown_messages == [f"codellama-ls: “{FIX}” failed. {why}"]
        assert one.model.log.count("begin chat") == 2


async def test_missing_engine_is_reported(runtime):
    async with editing_user(runtime, ["boom"]) as one:
        one.model.pieces = ["boom"]
        one.open(CODE)
        assert (await one.resolve(await one.action("Simplify 'f'", (4, 9)))).edit is None
        await until(lambda: one.shown_messages)
        assert one.shown_messages[0].startswith("codellama-ls: “Simplify 'f'” failed. ")


async def test_cancelled_request_frees_the_model_within_a_step(runtime):
    async with editing_user(runtime, [GOOD], hold=True) as one:
        one.open(CODE)
        request = one.send_resolve(await one.action("Simplify 'f'", (4, 9)), "the-one")
        await model_started(one)
        one.client.cancel_request(types.CancelParams("the-one"))
        (error,) = await asyncio.wait_for(asyncio.gather(request, return_exceptions=True), 10)
        assert getattr(error, "code", None) == -32800
        await model_cancelled(one)
        assert "chat: ```\n" not in one.model.log


async def test_cancelled_progress_bar_frees_the_model(runtime):
    async with editing_user(runtime, [GOOD], hold=True) as one:
        one.open(CODE)
        request = one.send_resolve(await one.action("Simplify 'f'", (4, 9)))
        await model_started(one)
        await until(lambda: one.progress)
        (token,) = one.progress
        assert one.progress[token][0]["cancellable"] is True
        one.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams(token))
        (error,) = await asyncio.wait_for(asyncio.gather(request, return_exceptions=True), 10)
        assert getattr(error, "code", None) == -32800
        await model_cancelled(one)
        await until(lambda: one.progress[token][-1]["kind"] == "end")


async def test_progress_begins_reports_lines_and_ends(runtime):
    async with editing_user(runtime, [GOOD], hold=True) as one:
        one.open(CODE)
        request = one.send_resolve(await one.action("Simplify 'f'", (4, 9)))
        await until(lambda: one.progress)
        one.model.go.set()
        assert (await asyncio.wait_for(request, 20)).edit is not None
        ((_, values),) = one.progress.items()
        await until(lambda: values[-1]["kind"] == "end")
        assert one.server.work_done_progress.tokens == {}
    assert (values[0]["kind"], values[0]["title"]) == ("begin", "Code Llama: Simplify 'f'")
    assert "6 lines" in [value.get("message") for value in values]


async def test_concurrent_edit_elsewhere_moves_the_hunks(runtime):
    async with editing_user(runtime, [GOOD], hold=True) as one:
        one.open(CODE)
        request = one.send_resolve(await one.action(FIX, (4, 9), problems=[UNDEFINED]))
        await model_started(one)
        one.type("# typed\n" + CODE)
        one.model.go.set()
        edit = (await asyncio.wait_for(request, 20)).edit
        assert one.edits_of(edit) == [((5, 8, 5, 11), "1"), ((6, 12, 6, 12), " + x")]


async def test_concurrent_edit_of_the_same_lines_wins(runtime):
    async with editing_user(runtime, [GOOD], hold=True) as one:
        one.open(CODE)
        request = one.send_resolve(await one.action(FIX, (4, 9), problems=[UNDEFINED]))
        await model_started(one)
        one.type(CODE.replace("x = foo", "x = food"))
        one.model.go.set()
        assert (await asyncio.wait_for(request, 20)).edit is None
        await until(lambda: one.shown_messages)
        assert one.shown_messages == [
            f"codellama-ls: “{FIX}” failed. The same lines of the document were changed meanwhile. Try again."
        ]


async def test_action_of_an_older_version_is_refused(runtime):
    async with editing_user(runtime, [GOOD]) as one:
        one.open(CODE)
        action = await one.action(FIX, (4, 9), problems=[UNDEFINED])
        one.type("\n" + CODE)
        (error,) = await asyncio.wait_for(asyncio.gather(one.send_resolve(action), return_exceptions=True), 10)
        assert getattr(error, "code", None) == -32801
        assert one.model.log == []


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"uri": 1},
        {"uri": "file:///etc/passwd", "task": "edit"},
        {"task": "rm"},
        {"start": -1},
        {"stop": 10**6},
        {"start": "0"},
    ],
)
async def test_foreign_action_data_are_refused(runtime, data):
    async with editing_user(runtime, [GOOD]) as one:
        one.open(CODE)
        action = await one.action("Simplify 'f'", (4, 9))
        action.data = {**action.data, **data} if data else data
        (error,) = await asyncio.wait_for(asyncio.gather(one.send_resolve(action), return_exceptions=True), 10)
        assert getattr(error, "code", None) in (-32602, -32801)
        assert one.model.log == []
