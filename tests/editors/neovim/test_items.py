"""Neovim's native inline completion (0.12) with each form of an item; see editor_clients/README.md.

The server is a table of responses inside the editor, so these tests cover Neovim's side only.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from editors.neovim.editor import executable, pynvim

pytestmark = pytest.mark.editors

SERVER = """
_G.item = nil
local function server(dispatchers)
  local function request(method, params, done)
    if method == 'initialize' then
      done(nil, { capabilities = { inlineCompletionProvider = true, positionEncoding = 'utf-8' } })
    elseif method == 'textDocument/inlineCompletion' then
      done(nil, _G.item and { _G.item } or {})
    else
      done(nil, vim.NIL)
    end
    return true, 1
  end
  local function nothing() return true end
  return { request = request, notify = nothing, is_closing = function() end, terminate = nothing }
end
vim.lsp.start({ name = 'fake', cmd = server })
vim.lsp.inline_completion.enable(true)
vim.keymap.set('i', '<Tab>', function() return vim.lsp.inline_completion.get() and '' or '<Tab>' end, { expr = true })
"""

LINE = "y = foo(x = , b)"
AT = 12


@pytest.fixture
def nvim():
    path = executable("0.12")
    if path is None:
        pytest.skip("Neovim 0.12 is not installed; `make test-editors` does it")
    opened = pynvim.attach("child", argv=[str(path), "--embed", "--headless", "--clean"])
    opened.command("set columns=80 lines=12 noswapfile")
    opened.exec_lua(SERVER)
    yield opened
    with suppress(EOFError, OSError):
        opened.command("qall!")
    opened.close()


def typed(nvim, text: str, start: int | None, stop: int | None) -> tuple[list[str], list[str], int]:
    """Return the screen with the item, then lines and cursor column after accepting it."""
    item: dict[str, Any] = {"insertText": text}
    if start is not None:
        item["range"] = {"start": {"line": 0, "character": start}, "end": {"line": 0, "character": stop}}
    nvim.exec_lua("_G.item = ...", item)
    nvim.current.buffer[:] = [LINE.replace("= ,", "=,"), "below"]
    nvim.current.window.cursor = (1, AT - 2)
    nvim.input("a ")
    shown = (
        "vim.wait(10000, function() return #vim.api.nvim_buf_get_extmarks(0, vim.api.nvim_get_namespaces()"
        "['nvim.lsp.inline_completion'] or -1, 0, -1, {}) > 0 end, 20)"
    )
    assert nvim.exec_lua("return " + shown)
    nvim.command("redraw")
    rows = [
        nvim.exec_lua(
            "local n = ...; local t = {} for c = 1, 80 do t[c] = vim.fn.screenstring(n, c) end return table.concat(t)",
            n,
        ).rstrip()
        for n in (1, 2, 3)
    ]
    nvim.input("<Tab>")
    assert nvim.exec_lua("return vim.wait(10000, function() return vim.fn.getline(1):find('g%(') ~= nil end)")
    return rows, nvim.current.buffer[:], nvim.current.window.cursor[1]


def test_whole_line_item_is_shown_and_inserted_correctly(nvim):
    """The server sends this form. The cursor ends at the end of the line, after the text that was right of it."""
    rows, lines, column = typed(nvim, "y = foo(x = g(1), b)", 0, len(LINE))
    assert rows[0] == "y = foo(x = g(1), b)"
    assert (lines[0], column) == ("y = foo(x = g(1), b)", 20)


def test_empty_range_item_hides_the_rest_of_the_line(nvim):
    rows, lines, _ = typed(nvim, "g(1)", AT, AT)
    assert rows[0] == "y = foo(x = g(1)"
    assert lines[0] == "y = foo(x = g(1), b)"


def test_whole_line_item_of_several_lines_shows_the_rest_twice(nvim):
    """The file is right but the screen is not, so the server sends a single line if text follows the cursor."""
    rows, lines, _ = typed(nvim, "y = foo(x = g(\n    1), b)", 0, len(LINE))
    assert rows == ["y = foo(x = g(b)", "    1), b)", "below"]
    assert lines == ["y = foo(x = g(", "    1), b)", "below"]


def test_lines_at_the_cursor_end_before_the_rest_of_the_line(nvim):
    rows, lines, _ = typed(nvim, "g(\n    1)", AT, AT)
    assert rows == ["y = foo(x = g(b)", "    1)", "below"]
    assert lines == ["y = foo(x = g(", "    1), b)", "below"]
