"""``initialize``: capabilities for each editor, without waiting for a model."""

from __future__ import annotations

import asyncio

import pytest
from fakes.scripted_model import ScriptedModel
from lsprotocol import types
from support.editor_session import editor_session
from support.fixtures_engine import serving
from support.waiting import until


@pytest.mark.parametrize(("editor", "encoding"), [("vscode", "utf-16"), ("neovim", "utf-8")])
async def test_inline_completion_replaces_plain_completion(runtime, editor, encoding):
    async with serving(runtime, ScriptedModel()), editor_session(editor) as editor_window:
        announced = editor_window.result.capabilities
    assert announced.inline_completion_provider == types.InlineCompletionOptions()
    assert announced.completion_provider is None
    assert isinstance(announced.text_document_sync, types.TextDocumentSyncOptions)
    assert announced.text_document_sync.change == types.TextDocumentSyncKind.Full
    assert announced.position_encoding == encoding


@pytest.mark.parametrize("editor", ["emacs@v29.1", "neovim@v0.10.0"])
async def test_editor_without_inline_completion_gets_plain_completion(runtime, editor):
    async with serving(runtime, ScriptedModel()), editor_session(editor) as editor_window:
        announced = editor_window.result.capabilities
    assert announced.completion_provider is not None


async def test_requests_before_the_engine_is_ready_return_empty(runtime):
    async with (
        serving(runtime, ScriptedModel(), phase="loading") as engine,
        editor_session(wait=False) as editor_window,
    ):
        editor_window.open("x = ")
        assert await editor_window.inline(0, 4) == []
        (record,) = await editor_window.trace()
        assert record["result"] == "not ready"
        engine.service.board.post(phase="ready")
        await asyncio.wait_for(editor_window.ready.wait(), 10)
        assert await editor_window.inline(0, 4) == [("x = ab", (0, 0, 0, 4))]


async def test_loading_is_reported_as_progress(runtime):
    async with (
        serving(runtime, ScriptedModel(), phase="loading") as engine,
        editor_session(wait=False) as editor_window,
    ):
        reports = editor_window.client.progress_reports
        await until(lambda: all_of(reports))
        engine.service.board.post(message="loading weights", progress=70)
        await until(lambda: any(_kind(r) == "report" for r in all_of(reports)))
        engine.service.board.post(phase="ready", message="ready")
        await until(lambda: _kind(all_of(reports)[-1]) == "end")
    begin, report, end = all_of(reports)[0], all_of(reports)[-2], all_of(reports)[-1]
    assert (begin.title, begin.message, begin.percentage) == ("Code Llama", "loading weights", 40)
    assert (report.message, report.percentage) == ("loading weights", 70)
    assert end.message == "ready"


async def test_bad_setting_is_reported_once_and_the_server_works(runtime):
    settings = {"completion": {"maxTokens": "many"}}
    async with serving(runtime, ScriptedModel()), editor_session(settings=settings) as editor_window:
        editor_window.open("x = ")
        assert await editor_window.inline(0, 4) == [("x = ab", (0, 0, 0, 4))]
        (message,) = editor_window.client.messages
    assert message.type == types.MessageType.Warning
    assert message.message == (
        "codellama-ls: Setting 'completion.maxTokens' must be a number from 1 to 1024, "
        'not "many". The default 64 is used.'
    )


async def test_configuration_disables_and_enables_completion(runtime):
    async with serving(runtime, ScriptedModel()), editor_session() as editor_window:
        editor_window.open("x = ")
        client = editor_window.client
        off = {"codellama": {"completion": {"enabled": False}}}
        client.workspace_did_change_configuration(types.DidChangeConfigurationParams(off))
        assert await editor_window.inline(0, 4) == []
        assert (await editor_window.trace())[-1]["reason"] == "completion is switched off in the settings"
        client.workspace_did_change_configuration(types.DidChangeConfigurationParams({"codellama": {}}))
        assert await editor_window.inline(0, 4) != []


def all_of(reports: dict) -> list:
    return [value for values in reports.values() for value in values]


def _kind(value) -> str:
    return value.kind
