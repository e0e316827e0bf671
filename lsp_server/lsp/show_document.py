"""Show Markdown in an editor without a chat: write a private file and open it through ``window/showDocument``."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from inference.system.files import open_private
from lsp_server.session import CodeLlamaServer

LONGEST_NAME = 60


async def show_markdown(server: CodeLlamaServer, title: str, text: str) -> bool:
    """Show ``text`` under the heading ``title``. Return whether the editor opened it.

    The text is in a temporary file that only the user can read; it is deleted with the server. If the editor does not
    open it, a message names the file. Raises OSError if it cannot be written.
    """
    path = _written(Path(server.pages.name), title, f"# {_one_line(title)}\n\n{text.strip()}\n")
    window = server.client_capabilities.window
    if window is not None and window.show_document is not None and window.show_document.support:
        params = types.ShowDocumentParams(path.as_uri(), external=False, take_focus=True)
        with suppress(JsonRpcException):
            if (await server.window_show_document_async(params)).success:
                return True
    message = f"codellama-ls: {_one_line(title)}: the text is in {path}"
    server.window_show_message(types.ShowMessageParams(types.MessageType.Info, message))
    return False


def _written(folder: Path, title: str, text: str) -> Path:
    """Write a new file for each text: the editor may still show an earlier one."""
    name = re.sub(r"[^\w-]+", "-", title).strip("-")[:LONGEST_NAME] or "explanation"
    taken = (folder / f"{name}{f'-{n}' if n else ''}.md" for n in range(10_000))
    path = next(path for path in taken if not path.exists())
    with open_private(path, "x") as file:
        file.write(text)
    return path


def _one_line(title: str) -> str:
    return " ".join(title.split())
