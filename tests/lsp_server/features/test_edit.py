"""Edits by instruction: streamed, decided hunk by hunk, refined; several at once.

A real server and engine service; only the model is scripted.
"""

from __future__ import annotations

import asyncio

import pytest
from fakes.scripted_model import block
from lsprotocol import types
from pygls.exceptions import JsonRpcInternalError
from support.simulated_user import editing_user, json_range, model_cancelled, model_started, plain
from support.waiting import until

URI = "file:///project/a.py"
CODE = "def f(a):\n    x = 1\n    y = 2\n    z = 3\n    return a\n\n\ndef g(b):\n    return b\n"
NEW = "def f(a):\n    x = 10\n    y = 2\n    z = 30\n    return a"
HUNKS = [((1, 8, 1, 9), "10"), ((3, 8, 3, 9), "30")]
AT_F, AT_G = json_range((1, 4), (1, 4)), json_range((8, 4), (8, 4))


def start(at=AT_F, **more):
    return {"textDocument": {"uri": URI}, "range": at, "instruction": "ten times", **more}


def hunks(answer) -> list[tuple[tuple[int, int, int, int], str]]:
    found = []
    for one in plain(answer)["hunks"]:
        first, last = one["range"]["start"], one["range"]["end"]
        found.append(((first["line"], first["character"], last["line"], last["character"]), one["newText"]))
    return found


async def refused(request) -> str:
    (error,) = await asyncio.wait_for(asyncio.gather(request, return_exceptions=True), 10)
    assert getattr(error, "code", None) == -32602
    return str(error)


@pytest.mark.parametrize("name", ["vscode", "neovim"])
async def test_response_is_hunks_and_changes_nothing(runtime, name):
    async with editing_user(runtime, [block(NEW)], name) as one:
        one.open(CODE)
        answer = await one.ask("codellama/edit", **start(id="mine"))
        assert hunks(answer) == HUNKS
        assert (answer.id, answer.version, answer.message) == ("mine", one.session.version, "")
        assert one.applied == [] and "ten times" in one.model.turns[0][1][1]


async def test_hunks_stream_when_they_are_final(runtime):
    async with editing_user(runtime, [block(NEW)], hold=True) as one:
        one.open(CODE)
        request = one.send("codellama/edit", start(id="mine", partialResultToken="drawn", workDoneToken="done"))
        await model_started(one)
        one.model.go.set()
        assert hunks(await asyncio.wait_for(request, 20)) == HUNKS
        drawn = [hunks(value) for value in one.progress["drawn"]]
        kinds = [value["kind"] for value in one.progress["done"]]
        assert {value["id"] for value in one.progress["drawn"]} == {"mine"}
    assert drawn == [HUNKS[:1], HUNKS]
    assert (kinds[0], kinds[-1]) == ("begin", "end")


async def test_one_hunk_accepted_and_one_rejected(runtime):
    async with editing_user(runtime, [block(NEW)]) as one:
        one.open(CODE)
        first, second = [found["id"] for found in plain(await one.ask("codellama/edit", **start(id="e")))["hunks"]]
        answer = await one.ask("codellama/edit/accept", id="e", hunk=first)
        assert answer.applied and hunks(answer) == HUNKS[1:]
        assert one.text == CODE.replace("x = 1", "x = 10")
        assert hunks(await one.ask("codellama/edit/reject", id="e", hunk=second)) == []
        assert await refused(one.send("codellama/edit/accept", {"id": "e", "hunk": second}))
        assert len(one.applied) == 1


@pytest.mark.parametrize("hunk", [[0], {"a": 0}, "0"])
async def test_hunk_that_is_not_a_number_is_refused(runtime, hunk):
    async with editing_user(runtime, [block(NEW)]) as one:
        one.open(CODE)
        await one.ask("codellama/edit", **start(id="e"))
        assert await refused(one.send("codellama/edit/accept", {"id": "e", "hunk": hunk}))


async def test_hunks_accepted_one_by_one_are_placed_correctly(runtime):
    longer = "def f(a):\n    # one\n    # two\n    x = 1\n    y = 2\n    z = 30\n    return a"
    async with editing_user(runtime, [block(longer)]) as one:
        one.open(CODE)
        first, second = [found["id"] for found in plain(await one.ask("codellama/edit", **start(id="e")))["hunks"]]
        answer = await one.ask("codellama/edit/accept", id="e", hunk=first)
        assert hunks(answer) == [((5, 8, 5, 9), "30")]
        assert (await one.ask("codellama/edit/accept", id="e", hunk=second)).applied
        assert one.text == longer + CODE[CODE.index("\n\n\ndef g") :]


async def test_all_hunks_accepted_at_once(runtime):
    async with editing_user(runtime, [block(NEW)]) as one:
        one.open(CODE)
        await one.ask("codellama/edit", **start(id="e"))
        answer = await one.ask("codellama/edit/accept", id="e")
        assert answer.applied and hunks(answer) == []
        assert one.text == NEW + CODE[CODE.index("\n\n\ndef g") :] and len(one.applied) == 1


async def test_user_changes_are_kept_and_win_in_the_same_line(runtime):
    async with editing_user(runtime, [block(NEW)]) as one:
        one.open(CODE)
        first, second = [found["id"] for found in plain(await one.ask("codellama/edit", **start(id="e")))["hunks"]]
        one.type("import os\n" + CODE.replace("z = 3", "z = 4"))
        assert (await one.ask("codellama/edit/accept", id="e", hunk=first)).applied
        answer = await one.ask("codellama/edit/accept", id="e")
        assert one.text == "import os\n" + CODE.replace("x = 1", "x = 10").replace("z = 3", "z = 4")
        assert second not in [found["id"] for found in plain(answer)["hunks"]]


async def test_hunk_of_a_changed_line_fails_with_a_message(runtime):
    async with editing_user(runtime, [block(NEW)]) as one:
        one.open(CODE)
        await one.ask("codellama/edit", **start(id="e"))
        one.type(CODE.replace("x = 1", "x = 5"))
        answer = await one.ask("codellama/edit/accept", id="e")
        assert (answer.applied, answer.message) == (False, "The document was changed in the same lines meanwhile.")
        assert hunks(answer) == HUNKS and one.applied == []


async def test_follow_up_continues_the_conversation(runtime):
    more = NEW.replace("y = 2", "y = 20")
    async with editing_user(runtime, [block(NEW), block(more)]) as one:
        one.open(CODE)
        before = plain(await one.ask("codellama/edit", **start(id="e")))["hunks"]
        await one.ask("codellama/edit/accept", id="e", hunk=before[0]["id"])
        answer = await one.ask("codellama/edit/followUp", id="e", instruction="y too")
        assert hunks(answer) == [((2, 8, 2, 9), "20"), ((3, 8, 3, 9), "30")]
        assert not {found["id"] for found in before} & {found["id"] for found in plain(answer)["hunks"]}
        asked = one.model.turns[1]
    assert [role for role, _ in asked] == ["system", "user", "assistant", "user"]
    assert asked[2][1] == block(NEW) and asked[3][1].endswith("changed as follows: y too")


async def test_failed_follow_up_keeps_the_hunks(runtime):
    async with editing_user(runtime, [block(NEW), "no", "no"]) as one:
        one.open(CODE)
        await one.ask("codellama/edit", **start(id="e"))
        answer = await one.ask("codellama/edit/followUp", id="e", instruction="y too")
        assert hunks(answer) == HUNKS and answer.message.startswith("The answer ")


async def test_failed_edit_has_a_message_and_ends(runtime):
    async with editing_user(runtime, ["(", "("]) as one:
        one.open(CODE)
        answer = await one.ask("codellama/edit", **start(id="e"))
        assert hunks(answer) == [] and answer.message.startswith("The answer does not parse")
        assert await refused(one.send("codellama/edit/accept", {"id": "e"}))


@pytest.mark.parametrize("way", ["$/cancelRequest", "codellama/edit/cancel", "didClose", "both"])
async def test_cancelled_edit_frees_the_model_within_a_step(runtime, way):
    async with editing_user(runtime, [block(NEW)], hold=True) as one:
        one.open(CODE)
        request = one.send("codellama/edit", start(id="e"), msg_id="the-one")
        await model_started(one)
        if way in ("$/cancelRequest", "both"):
            one.client.cancel_request(types.CancelParams("the-one"))
        if way == "both":  # as the Neovim plugin does, in one write
            await one.ask("codellama/edit/cancel", id="e")
        elif way == "didClose":
            one.client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(URI)))
        elif way == "codellama/edit/cancel":
            await one.ask(way, id="e")
        (error,) = await asyncio.wait_for(asyncio.gather(request, return_exceptions=True), 10)
        assert getattr(error, "code", None) == -32800
        await model_cancelled(one)
        await until(lambda: one.server.edits.find("e") is None)
        assert one.server.work_done_progress.tokens == {}


async def test_new_edit_with_the_same_id_survives_the_old_end(runtime):
    """The cancelled edit ends after the new one has begun."""
    async with editing_user(runtime, [block(NEW), block(NEW)], hold=True) as one:
        one.open(CODE)
        first = one.send("codellama/edit", start(id="e"))
        await model_started(one)
        over = one.send("codellama/edit/cancel", {"id": "e"})
        second = one.send("codellama/edit", start(id="e"))
        await asyncio.wait_for(asyncio.gather(first, over, return_exceptions=True), 10)
        one.model.go.set()
        assert hunks(await asyncio.wait_for(second, 20)) == HUNKS
        assert (await one.ask("codellama/edit/accept", id="e")).applied


async def test_two_concurrent_edits_are_independent(runtime):
    other = block("def g(b):\n    return b + 1")
    async with editing_user(runtime, [block(NEW), other], hold=True) as one:
        one.open(CODE)
        first = one.send("codellama/edit", start(id="f"))
        await model_started(one)
        second = one.send("codellama/edit", start(AT_G, id="g"))
        await until(lambda: one.service.scheduler.waiting == 2)
        one.model.go.set()
        found = await asyncio.wait_for(asyncio.gather(first, second), 20)
        assert [hunks(answer) for answer in found] == [HUNKS, [((8, 12, 8, 12), " + 1")]]
        assert (await one.ask("codellama/edit/accept", id="f")).applied
        assert (await one.ask("codellama/edit/accept", id="g")).applied
        assert one.text == NEW + "\n\n\ndef g(b):\n    return b + 1\n"


def holds(one, error: str = "") -> tuple[asyncio.Event, asyncio.Event]:
    """Hold the editor's ``workspace/applyEdit``: it arrives (first), and is applied (second) or fails."""
    asked, may = asyncio.Event(), asyncio.Event()
    features = one.client.protocol.fm.features
    apply = features[types.WORKSPACE_APPLY_EDIT]

    async def held(params):
        asked.set()
        await asyncio.wait_for(may.wait(), 10)
        if error:
            raise JsonRpcInternalError(error)
        return await apply(params)

    features[types.WORKSPACE_APPLY_EDIT] = held
    return asked, may


@pytest.mark.parametrize("last", ["reject", "followUp"])
async def test_requests_during_apply_see_the_remaining_hunks(runtime, last):
    """Otherwise they would decide hunks of an outdated text."""
    async with editing_user(runtime, [block(NEW), block(NEW.replace("y = 2", "y = 20"))]) as one:
        one.open(CODE)
        first, second = [found["id"] for found in plain(await one.ask("codellama/edit", **start(id="e")))["hunks"]]
        asked, may = holds(one)
        taken = one.send("codellama/edit/accept", {"id": "e", "hunk": first})
        await asyncio.wait_for(asked.wait(), 10)
        then = one.send(f"codellama/edit/{last}", {"id": "e", "instruction": "y too"})
        again = one.send("codellama/edit/accept", {"id": "e", "hunk": first})
        await one.session.trace()
        assert not then.done() and len(one.model.turns) == 1
        may.set()
        answer = await asyncio.wait_for(taken, 10)
        assert (answer.applied, [found["id"] for found in plain(answer)["hunks"]]) == (True, [second])
        left = [] if last == "reject" else [((2, 8, 2, 9), "20"), ((3, 8, 3, 9), "30")]
        assert hunks(await asyncio.wait_for(then, 10)) == left
        assert await refused(again) and len(one.applied) == 1


async def test_error_response_to_apply_edit_is_not_applied(runtime):
    async with editing_user(runtime, [block(NEW)]) as one:
        one.open(CODE)
        await one.ask("codellama/edit", **start(id="e"))
        holds(one, "it is read-only")[1].set()
        answer = await one.ask("codellama/edit/accept", id="e")
        assert (answer.applied, hunks(answer)) == (False, HUNKS)
        assert answer.message == "The editor did not apply the edit: it is read-only."


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("codellama/edit", {}),
        ("codellama/edit", start() | {"instruction": " "}),
        ("codellama/edit", start() | {"range": {"start": 1}}),
        ("codellama/edit", start() | {"textDocument": {"uri": "file:///project/never-opened.py"}}),
        ("codellama/edit/accept", {"id": "nothing"}),
        ("codellama/edit/followUp", {"id": "nothing", "instruction": "x"}),
        ("codellama/edit/reject", {}),
    ],
)
async def test_invalid_request_has_a_message(runtime, method, params):
    async with editing_user(runtime) as one:
        one.open(CODE)
        assert await refused(one.send(method, params))
        assert one.model.log == []


async def test_private_file_is_not_edited(runtime):
    async with editing_user(runtime) as one:
        one.session.open("KEY=1\n", "file:///project/.env", "bash")
        request = start(json_range((0, 0), (0, 0))) | {"textDocument": {"uri": "file:///project/.env"}}
        assert "private" in await refused(one.send("codellama/edit", request))
        assert one.model.log == []
