"""Our renderer with items that our server does not send, and Neovim's renderer with our server."""

from __future__ import annotations

import pytest
from editors.neovim.editor import neovim

pytestmark = pytest.mark.editors


def test_our_renderer_shows_mid_line_blocks_as_inserted(editor):
    """Text right of the cursor is drawn after the last line and hidden in its old position."""
    editor.open("y = foo(x = , bbbbbbbb)\n", attached=False)
    here = "{bufnr = 0, tick = 0, row = 0, left = 'y = foo(x = ', right = ', bbbbbbbb)'}"
    editor.lua(f"require('codellama.ghost.draw').show('g(\\n    1)', {here}, '')")
    assert editor.screen(2) == ["y = foo(x = g(", "    1), bbbbbbbb)"]


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"insertText": "abc"}, "abc"),
        ({"insertText": "x = abc)", "range": (0, 0, 0, 5)}, "abc"),
        ({"insertText": "abc", "range": (0, 4, 0, 4)}, None),
        ({"insertText": "y = abc)", "range": (0, 0, 0, 5)}, None),
        ({"insertText": "x = abc)", "range": (0, 0, 1, 0)}, None),
        ({"insertText": "x = )", "range": (0, 0, 0, 5)}, None),
    ],
)
def test_items_that_are_no_pure_insertion_are_not_shown(editor, item, text):
    if "range" in item:
        line, start, last, stop = item["range"]
        item = {
            **item,
            "range": {"start": {"line": line, "character": start}, "end": {"line": last, "character": stop}},
        }
    here = {"bufnr": 1, "tick": 1, "row": 0, "left": "x = ", "right": ")"}
    found = editor.lua("return require('codellama.ghost.item').suggestion(...)", item, here)
    assert (found and found["text"]) == text


def test_native_renderer_is_used_where_available(version, engine, tmp_path):
    engine.model.says({"y = f(x = ": "g(1)"})
    with neovim(version, tmp_path, {"renderer": "builtin"}) as editor:
        editor.open("y = f()\n")
        editor.keys("f)ix = ")
        editor.until(lambda: editor.lua("return require('codellama').visible()"), "a suggestion")
        assert editor.screen(1) == ["y = f(x = g(1))"]
        assert (editor.ghost() is None) == (version == "0.12")
        editor.keys("<Tab>")
        editor.has("y = f(x = g(1))")
        assert editor.cursor == (1, 15 if version == "0.12" else 14)
