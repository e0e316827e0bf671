"""Limits of the chosen models are reported once per session; a session uses only models that it chose."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from fakes.scripted_model import ScriptedModel
from lsprotocol import types
from support.editor_session import editor_session
from support.fixtures_engine import serving

from inference.models.catalog import CATALOG, STARTER

NO_INFILL = "codellama-34b was not trained to infill. It completes from the text before the cursor only."


OLD = "The installed starter can't infill yet. Run `codellama-ls pull starter` to update it."


def big() -> ScriptedModel:
    return ScriptedModel(row=CATALOG["codellama-34b"])


async def test_model_without_infilling_is_reported_once_and_completes(runtime):
    """An engine that becomes ready again, for example after a crash, repeats no message."""
    async with (
        serving(runtime, big()) as engine,
        editor_session(settings={"engine": {"model": "codellama-34b"}}) as editor,
    ):
        editor.open("x = \ny")
        assert await editor.inline(0, 4) == [("x = ab", (0, 0, 0, 4))]
        editor.ready.clear()
        engine.service.board.post(message="ready again")
        await asyncio.wait_for(editor.ready.wait(), 10)
        (record,) = await editor.trace()
        (message,) = editor.client.messages
    assert (message.type, message.message) == (types.MessageType.Info, f"codellama-ls: {NO_INFILL}")
    assert record["limits"] == NO_INFILL


async def test_starter_that_infills_shows_no_message(runtime):
    """It is the default: a message box in each session would teach users to dismiss them."""
    async with serving(runtime, ScriptedModel()), editor_session() as editor:
        editor.open("x = ")
        await editor.inline(0, 4)
        (record,) = await editor.trace()
        assert editor.client.messages == []
    assert record["limits"] == ""


async def test_old_starter_reports_once_how_to_enable_infilling(runtime):
    """A starter installed without an adapter still completes."""
    old = ScriptedModel(row=replace(STARTER, infill=False))
    async with serving(runtime, old), editor_session() as editor:
        editor.open("x = ")
        assert await editor.inline(0, 4) == [("x = ab", (0, 0, 0, 4))]
        (record,) = await editor.trace()
        (message,) = editor.client.messages
    assert message.message == f"codellama-ls: {OLD}"
    assert record["limits"] == OLD


async def test_session_with_another_chat_model_is_notified(runtime):
    """Both models must be those of the session's settings."""
    settings = {"engine": {"model": "codellama-34b", "chatModel": "codellama-7b-instruct"}}
    async with serving(runtime, big()), editor_session(settings=settings, wait=False) as editor:
        await asyncio.wait_for(editor.failed.wait(), 20)
        editor.open("x = ")
        assert await editor.inline(0, 4) == []
        messages = [message.message for message in editor.client.messages]
    assert messages == [
        "codellama-ls: The engine was started by another editor session with 'codellama-34b'; this session is set to "
        "'codellama-34b' and 'codellama-7b-instruct'. Set engine.model and engine.chatModel alike, or run "
        "`codellama-ls engine stop`."
    ]
