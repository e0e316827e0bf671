"""Without a model a message says what to do, the editor keeps working, and no process or file remains."""

from __future__ import annotations

import asyncio

from support.editor_session import EditorSession, editor_session
from support.waiting import until

SETTINGS = {"engine": {"graceSeconds": 0.2}}


async def test_missing_model_is_reported_in_one_sentence(runtime, tmp_path):
    async with editor_session(settings=SETTINGS, wait=False, env={"CODELLAMA_LS_MODELS": str(tmp_path)}) as editor:
        await asyncio.wait_for(editor.failed.wait(), 60)
        editor.open("x = ")
        assert await editor.inline(0, 4) == []
        messages = await said(editor)
        assert (await editor.trace())[-1]["result"] == "not ready"
    assert len(messages) == 1
    assert "codellama-ls pull starter" in messages[0]


async def test_unknown_model_is_reported_in_one_sentence(runtime, tmp_path):
    settings = {"engine": {"graceSeconds": 0.2, "model": "gpt"}}
    async with editor_session(settings=settings, wait=False, env={"CODELLAMA_LS_MODELS": str(tmp_path)}) as editor:
        await asyncio.wait_for(editor.failed.wait(), 60)
        messages = await said(editor)
    assert len(messages) == 1
    assert messages[0].startswith("codellama-ls: There is no model 'gpt'")


async def said(editor: EditorSession) -> list[str]:
    """Wait for the first message to the user and return all."""
    await until(lambda: editor.client.messages)
    return [message.message for message in editor.client.messages]
