"""Markdown for a person whose editor has no chat: a file of theirs alone, opened through ``window/showDocument``."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from lsp_server.session import CodeLlamaServer

LONGEST_NAME = 60


async def show_markdown(server: CodeLlamaServer, title: str, text: str) -> bool:
    """Show ``text`` under the heading ``title``; tells whether the editor opened it.

    It stands in a temporary file that only its user can read and that goes with the server. A person whose editor can't
    open files for servers is told where it is. Raises OSError where it can't be written.
    """
    path = _written(Path(server.pages.name), title, f"# {_one_line(title)}\n\n{text.strip()}\n")
    window = server.client_capabilities.window
    if window is not None and window.show_document is not None and window.show_document.support:
        params = types.ShowDocumentParams(path.as_uri(), external=False, take_focus=True)
        with suppress(JsonRpcException):
            if (await server.window_show_document_async(params)).success:
                return True
    told = f"codellama-ls: {_one_line(title)}: the text is in {path}"
    server.window_show_message(types.ShowMessageParams(types.MessageType.Info, told))
    return False


def _written(folder: Path, title: str, text: str) -> Path:
    """A file of its own for each text: an editor may still show the one before."""
    name = re.sub(r"[^\w-]+", "-", title).strip("-")[:LONGEST_NAME] or "explanation"
    taken = (folder / f"{name}{f'-{n}' if n else ''}.md" for n in range(10_000))
    path = next(path for path in taken if not path.exists())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path


def _one_line(title: str) -> str:
    return " ".join(title.split())
