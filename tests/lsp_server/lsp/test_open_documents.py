"""Open documents as cross-file context, if the settings enable it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from pygls.workspace import Workspace

from inference.text.prompts import Snippet
from lsp_server.features.text_sync import did_close
from lsp_server.lsp.documents import cross_file_snippets, freeze, open_files
from lsp_server.server import create_server
from lsp_server.session import CodeLlamaServer
from lsp_server.settings import parse_settings

AREA = "def rectangle_area(width, height):\r\n    return width * height\r\n"


def editor(folder: Path, **completion: Any) -> CodeLlamaServer:
    server = create_server()
    server.settings = parse_settings({"completion": completion})[0]
    root = types.WorkspaceFolder(folder.as_uri(), "project")
    workspace = Workspace(None, types.TextDocumentSyncKind.Full, [root], types.PositionEncodingKind.Utf16)
    server.protocol._workspace = workspace
    for name, text in {"main.py": "x = rectangle_area(", "lib/area.py": AREA, "area.pem": AREA}.items():
        workspace.put_text_document(types.TextDocumentItem((folder / name).as_uri(), "python", 1, text))
    return server


async def context(server: CodeLlamaServer, folder: Path) -> tuple[Snippet, ...]:
    """Return the snippets for a request at the end of the first line."""
    snapshot = freeze(server, types.TextDocumentIdentifier((folder / "main.py").as_uri()), types.Position(0, 19))
    assert snapshot is not None
    return await cross_file_snippets(server, snapshot)


async def test_open_files_are_included_except_private_ones(tmp_path: Path) -> None:
    server = editor(tmp_path, contextChars=2_000)
    assert await context(server, tmp_path) == (Snippet("lib/area.py", AREA.replace("\r\n", "\n")[:-1]),)


async def test_excluded_files_are_not_included(tmp_path: Path) -> None:
    assert await context(editor(tmp_path, contextChars=2_000, excludedFiles=["lib/"]), tmp_path) == ()


async def test_no_context_by_default(tmp_path: Path) -> None:
    """A small model on a CPU would read for seconds and gain little."""
    assert await context(editor(tmp_path), tmp_path) == ()


async def test_closed_document_is_not_included(tmp_path: Path) -> None:
    server = editor(tmp_path, contextChars=2_000)
    assert await context(server, tmp_path) != ()
    uri = (tmp_path / "lib" / "area.py").as_uri()
    server.workspace.remove_text_document(uri)
    did_close(server, types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(uri)))
    assert await context(server, tmp_path) == ()


@pytest.mark.parametrize("name", ["my file.py", "größe.py", "a#b.py", "100%.py"])
def test_file_with_a_quoted_uri_is_found(tmp_path: Path, name: str) -> None:
    """Editors quote special characters (RFC 3986). pygls stores documents by their unquoted URIs."""
    folder = tmp_path / "my #1 project"
    server, uri = editor(folder, contextChars=2_000), (folder / name).as_uri()
    server.workspace.put_text_document(types.TextDocumentItem(uri, "python", 3, AREA))
    snapshot = freeze(server, types.TextDocumentIdentifier(uri), types.Position(0, 4))
    assert snapshot is not None and (snapshot.uri, snapshot.version, snapshot.left) == (uri, 3, "def ")
    assert server.folders == [folder]
    assert [file.path for file in open_files(server) if file.uri == uri] == [folder / name]
