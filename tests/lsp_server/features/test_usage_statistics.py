"""The stored row of a completion for each user action. A real server over LSP.

The model is scripted, and the tests advance the clock after which accepted text is checked again.
"""

from __future__ import annotations

import asyncio
import logging
import time

from lsprotocol import types
from support.editor_session import URI
from support.simulated_user import REPORTS, completion_user, outcomes
from support.waiting import until

from lsp_server.usage_statistics.storage import erase_statistics, statistics_path


async def test_accepted_and_kept(runtime):
    before = time.time()
    async with completion_user(runtime) as one:
        (item,) = await one.complete_at_end()
        assert outcomes(await one.stored_rows()) == [("shown", 9, 0, 0, None)]
        one.set_text("x = foo(a, b)")
        await one.run_command(item)
        assert outcomes(await one.stored_rows()) == [("accepted", 9, 9, 0, None)]
        one.set_text("import os; x = foo(a, b)")
        await one.stats()
        one.timers.advance(30)
        (row,) = await one.stored_rows()
    assert outcomes([row]) == [("accepted", 9, 9, 0, True)]
    assert (row.language, row.model, row.invoked) == ("python", "starter", False)
    assert before <= row.at <= time.time() and row.latency_ms > 0


async def test_accepted_and_deleted_soon(runtime):
    async with completion_user(runtime) as one:
        (item,) = await one.complete_at_end()
        one.set_text("x = foo(a, b)")
        await one.run_command(item)
        one.timers.advance(29)
        one.set_text("x = ")
        await one.stats()
        one.timers.advance(1)
        assert outcomes(await one.stored_rows()) == [("accepted", 9, 9, 0, False)]


async def test_closed_before_the_check_is_unknown(runtime):
    async with completion_user(runtime) as one:
        await one.complete_at_end()
        one.set_text("x = foo(a, b)")
        one.session.client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(URI)))
        await one.stats()
        one.timers.advance(30)
        assert outcomes(await one.stored_rows()) == [("accepted", 9, 9, 0, None)]


async def test_typed_through_is_one_row(runtime):
    """It was right and saved no keystrokes."""
    async with completion_user(runtime, ["a, b"]) as one:
        for line in ("x = ", "x = a", "x = a,", "x = a, "):
            assert len(await one.complete_at_end(line)) == 1
        one.set_text("x = a, b")
        assert outcomes(await one.stored_rows()) == [("typed", 4, 0, 4, None)]


async def test_typed_in_part_and_then_accepted(runtime):
    async with completion_user(runtime) as one:
        await one.complete_at_end("x = ")
        (item,) = await one.complete_at_end("x = fo")
        one.set_text("x = foo(a, b)")
        await one.run_command(item)
        assert outcomes(await one.stored_rows()) == [("accepted", 9, 7, 2, None)]


async def test_dismissed_by_typing_something_else(runtime):
    """Another cursor has another completion."""
    async with completion_user(runtime) as one:
        await one.complete_at_end("x = ")
        await one.complete_at_end("x = y + ")
        assert outcomes(await one.stored_rows()) == [("shown", 9, 0, 0, None)] * 2


async def test_short_text_counts_as_typed_until_the_command(runtime):
    """One keystroke may insert as much. The scripted model returns the same text for all three alternatives."""
    async with completion_user(runtime, ["1"], settings={"completion": {"alternatives": 3}}) as one:
        (item,) = await one.complete_at_end(invoked=True)
        one.set_text("x = 1")
        assert outcomes(await one.stored_rows()) == [("typed", 1, 0, 1, None)]
        await one.run_command(item)
        (row,) = await one.stored_rows()
    assert (outcomes([row]), row.invoked) == ([("accepted", 1, 1, 0, None)], True)


async def test_reporting_client_decides_what_was_shown(runtime):
    """It does not show an item that arrives too late."""
    async with completion_user(runtime, says=REPORTS) as one:
        await one.complete_at_end("x = ")
        (item,) = await one.complete_at_end("x = y + ")
        assert await one.stored_rows() == []
        one.report("didShow", item)
        assert outcomes(await one.stored_rows()) == [("shown", 9, 0, 0, None)]


async def test_accepted_word_by_word(runtime):
    async with completion_user(runtime, says=REPORTS) as one:
        (item,) = await one.complete_at_end()
        one.report("didShow", item)
        one.set_text("x = foo")
        one.report("didPartiallyAccept", item)
        assert outcomes(await one.stored_rows()) == [("partly", 9, 3, 0, None)]
        one.timers.advance(30)
        assert outcomes(await one.stored_rows()) == [("partly", 9, 3, 0, True)]
        (item,) = await one.complete_at_end("x = foo")
        one.report("didShow", item)
        one.report("didPartiallyAccept", item, characters=4)
        one.set_text("x = foo(a, ")
        assert outcomes(await one.stored_rows()) == [("partly", 9, 7, 0, None)]
        one.set_text("x = foo(a, b)")
        one.report("didAccept", item)
        assert outcomes(await one.stored_rows()) == [("accepted", 9, 9, 0, None)]


async def test_invalid_reports_are_ignored(runtime):
    async with completion_user(runtime, says=REPORTS) as one:
        protocol = one.session.client.protocol
        for params in ({"id": "77.0"}, {"id": "no"}, {"id": None}, {}, None, {"id": [1], "characters": "x"}):
            for what in ("didShow", "didAccept", "didPartiallyAccept"):
                protocol.notify(f"codellama/{what}", params)
        for arguments in (None, [], ["77.0"], [{"a": 1}, 2]):
            params = types.ExecuteCommandParams("codellama.accepted", arguments)
            assert await one.session.client.workspace_execute_command_async(params) is None
        (item,) = await one.complete_at_end()
        one.report("didShow", item)
        assert outcomes(await one.stored_rows()) == [("shown", 9, 0, 0, None)]


async def test_neovim_gets_commands_without_announcing_them(runtime):
    async with completion_user(runtime, editor="neovim") as one:
        (item,) = await one.complete_at_end()
        assert item.command is not None
        provider = one.session.result.capabilities.execute_command_provider
        assert provider is not None and "codellama.accepted" in provider.commands


async def test_editor_without_commands_is_tracked_by_document(runtime):
    """It has no inline completion either."""
    async with completion_user(runtime, editor="neovim@v0.10.0") as one:
        one.set_text("x = ")
        params = types.CompletionParams(types.TextDocumentIdentifier(URI), types.Position(0, 4))
        answer = await one.session.client.text_document_completion_async(params)
        assert isinstance(answer, types.CompletionList) and answer.items[0].command is None
        one.set_text("x = foo(a, b)")
        assert outcomes(await one.stored_rows()) == [("accepted", 9, 9, 0, None)]


async def test_list_entry_has_the_command(runtime):
    async with completion_user(runtime, editor="emacs@v29.1") as one:
        one.set_text("x = ")
        params = types.CompletionParams(types.TextDocumentIdentifier(URI), types.Position(0, 4))
        answer = await one.session.client.text_document_completion_async(params)
        assert isinstance(answer, types.CompletionList)
        command = answer.items[0].command
        assert command is not None and command.command == "codellama.accepted"


async def test_item_shown_again_is_still_tracked(runtime):
    """Its command arrives before the change. Such a short change alone would count as typed."""
    async with completion_user(runtime, pieces=["ab"]) as one:
        for name in range(10):
            uri = f"file:///project/{name}.py"
            one.session.open("x = \n", uri)
            await asyncio.wait_for(one.session.request(0, 4, uri=uri, invoked=False), 60)
        uri = "file:///project/0.py"
        (item,) = await asyncio.wait_for(one.session.request(0, 4, uri=uri, invoked=False), 60)
        await one.run_command(item)
        assert [row.fate for row in await one.stored_rows()].count("accepted") == 1


async def test_stats_request_returns_the_figures(runtime):
    async with completion_user(runtime) as one:
        (item,) = await one.complete_at_end()
        one.set_text("x = foo(a, b)")
        await one.run_command(item)
        await one.complete_at_end("x = foo(a, b)\ny = ")
        found = await one.stats(days=7)
    assert (found.days, found.all.shown, found.all.accepted, found.all.acceptance) == (7, 2, 1, 0.5)
    assert (found.today.characters_saved, found.languages.python.shown, found.models.starter.shown) == (9, 2, 2)
    assert found.all.latency_ms.p50 <= found.all.latency_ms.p95


async def test_status_has_todays_figures(runtime):
    async with completion_user(runtime) as one:
        (item,) = await one.complete_at_end()
        one.set_text("x = foo(a, b)")
        await one.run_command(item)
        await until(lambda: (today := one.session.statuses[-1].today) and today.accepted)
        status = one.session.statuses[-1]
    assert (status.phase, status.today.shown, status.today.acceptance) == ("ready", 1, 1.0)


async def test_statistics_erased_while_the_editor_runs(runtime):
    async with completion_user(runtime) as one:
        (item,) = await one.complete_at_end()
        await one.stored_rows()
        erase_statistics()
        one.set_text("x = foo(a, b)")
        await one.run_command(item)
        assert (await one.stats()).all.shown == 0


async def test_nothing_is_written_when_disabled(runtime):
    async with completion_user(runtime, settings={"statistics": {"enabled": False}}) as one:
        (item,) = await one.complete_at_end()
        assert item.command is None
        one.set_text("x = foo(a, b)")
        assert (await one.stats()).all.shown == 0
        assert one.session.statuses[-1].today is None
    assert not statistics_path().exists()


async def test_nothing_more_is_written_when_disabled_later(runtime):
    async with completion_user(runtime) as one:
        (item,) = await one.complete_at_end()
        off = {"codellama": {"statistics": {"enabled": False}}}
        one.session.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(off))
        await one.stats()
        one.set_text("x = foo(a, b)")
        await one.run_command(item)
        assert outcomes(await one.stored_rows()) == [("shown", 9, 0, 0, None)]


async def test_damaged_file_does_not_affect_completion(runtime, caplog):
    statistics_path().parent.mkdir(mode=0o700, parents=True)
    statistics_path().write_bytes(b"no database" * 1000)
    with caplog.at_level(logging.WARNING, logger="lsp_server"):
        async with completion_user(runtime) as one:
            (item,) = await one.complete_at_end()
            one.set_text("x = foo(a, b)")
            await one.run_command(item)
            assert len(await one.complete_at_end("x = y + ")) == 1
            error = (await asyncio.gather(one.stats(), return_exceptions=True))[0]
    assert "is damaged" in str(error)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text for text in warnings if "statistics" in text] == [
        f"statistics are not kept: {statistics_path()} is damaged; `codellama-ls stats --erase` begins a new one."
    ]


async def test_no_code_and_no_name_is_stored(runtime):
    async with completion_user(runtime, ["secret_name(", "1)"]) as one:
        await one.complete_at_end("hidden = ")
        one.set_text("hidden = secret_name(1)")
        await one.stored_rows()
        kept = b"".join(file.read_bytes() for file in statistics_path().parent.iterdir())
    assert b"python" in kept
    assert not any(word in kept for word in (b"secret_name", b"hidden", b"a.py", b"project"))
