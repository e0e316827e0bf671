"""Usage statistics over stdio: two servers, one file, and the flush on shutdown."""

from __future__ import annotations

import asyncio
import json

from fakes.scripted_model import ScriptedModel
from lsprotocol import types
from support.editor_session import EditorSession, editor_session
from support.fixtures_engine import serving

from lsp_server import cli
from lsp_server.usage_statistics.storage import statistics_path

LINES = 8


async def accepts(editor: EditorSession, language: str) -> None:
    """Accept every second completion."""
    text = ""
    editor.open(text, language=language)
    for n in range(LINES):
        text += f"x{n} = "
        editor.change(text)
        (item,) = await editor.request(n, len(f"x{n} = "))
        if n % 2:
            editor.change(text + "foo(a)")
            command = types.ExecuteCommandParams(item.command.command, item.command.arguments)
            await editor.client.workspace_execute_command_async(command)
        text += "foo(a)\n"


async def test_concurrent_sessions_lose_no_statistics(runtime, capsys):
    async with serving(runtime, ScriptedModel(["foo(a)"])), editor_session() as one, editor_session("neovim") as other:
        await asyncio.gather(accepts(one, "python"), accepts(other, "go"))
    assert cli.main(["stats", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    groups = [(group["shown"], group["accepted"], group["characters_saved"]) for group in found["languages"].values()]
    assert list(found["languages"]) == ["go", "python"]
    assert groups == [(LINES, LINES // 2, 6 * LINES // 2)] * 2


async def test_disabled_statistics_create_no_folder(runtime):
    off = {"statistics": {"enabled": False}}
    async with serving(runtime, ScriptedModel(["foo(a)"])), editor_session(settings=off) as editor:
        editor.open("x = ")
        assert len(await editor.inline(0, 4)) == 1
    assert not statistics_path().parent.exists()
