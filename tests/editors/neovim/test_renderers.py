"""Our renderer given items that our server does not send; and Neovim's own with our server."""

from __future__ import annotations

import pytest
from editors.neovim.editor import neovim

pytestmark = pytest.mark.editors


def test_ours_shows_several_lines_in_the_middle_of_one_as_they_will_be(editor):
    """What stands right of the cursor is shown behind the last line, and hidden where it stands now."""
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
def test_what_is_no_insertion_at_the_cursor_is_not_shown(editor, item, text):
    if "range" in item:
        line, start, last, stop = item["range"]
        item = {
            **item,
            "range": {"start": {"line": line, "character": start}, "end": {"line": last, "character": stop}},
        }
    here = {"bufnr": 1, "tick": 1, "row": 0, "left": "x = ", "right": ")"}
    found = editor.lua("return require('codellama.ghost.item').suggestion(...)", item, here)
    assert (found and found["text"]) == text


def test_neovims_own_renderer_where_it_has_one_and_ours_elsewhere(version, engine, tmp_path):
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
