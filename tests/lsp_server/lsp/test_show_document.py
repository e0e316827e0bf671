"""Markdown for editors without a chat: a private file, opened by the editor."""

from __future__ import annotations

import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from fakes.scripted_model import ScriptedModel
from lsprotocol import types
from pygls.exceptions import JsonRpcInternalError
from support.editor_session import in_process_session
from support.fixtures_engine import serving

from lsp_server.lsp.show_document import show_markdown
from lsp_server.server import create_server


def path_of(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))


@pytest.mark.parametrize("editor", ["vscode", "neovim"])
async def test_text_is_opened_as_a_private_file(runtime, editor):
    server = create_server()
    async with serving(runtime, ScriptedModel()), in_process_session(server, editor) as opened:
        assert await show_markdown(server, "What f(x)\ndoes", "It **adds**.\n")
        (shown,) = opened.client.shown_documents
        path = path_of(shown.uri)
        assert path.read_text() == "# What f(x) does\n\nIt **adds**.\n"
        assert path.name == "What-f-x-does.md"
        assert (shown.external, shown.take_focus, shown.selection) == (False, True, None)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_each_text_gets_its_own_file(runtime):
    """Titles come from code and must not choose a folder."""
    server = create_server()
    async with serving(runtime, ScriptedModel()), in_process_session(server) as opened:
        for title in ("a", "a", "../../etc/x", "…"):
            assert await show_markdown(server, title, "t")
        names = [path_of(shown.uri).name for shown in opened.client.shown_documents]
        assert names == ["a.md", "a-1.md", "etc-x.md", "explanation.md"]
        assert {path_of(shown.uri).parent for shown in opened.client.shown_documents} == {Path(server.pages.name)}


async def test_editor_without_show_document_gets_the_path(runtime):
    server = create_server()
    async with serving(runtime, ScriptedModel()), in_process_session(server, "emacs@v29.1") as opened:
        assert not await show_markdown(server, "a", "t")
        await opened.trace()
        (message,) = opened.client.messages
    assert message.type == types.MessageType.Info
    assert message.message == f"codellama-ls: a: the text is in {server.pages.name}/a.md"


async def test_error_response_to_show_document_gives_the_path(runtime):
    server = create_server()
    async with serving(runtime, ScriptedModel()), in_process_session(server) as opened:

        def fails(params):
            raise JsonRpcInternalError("no")

        opened.client.protocol.fm.features[types.WINDOW_SHOW_DOCUMENT] = fails
        assert not await show_markdown(server, "a", "t")
        await opened.trace()
        assert [one.message for one in opened.client.messages] == [
            f"codellama-ls: a: the text is in {server.pages.name}/a.md"
        ]
