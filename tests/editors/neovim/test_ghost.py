"""Suggestions in a real Neovim: what is on the screen, and what comes to stand in the buffer."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.editors


def test_a_suggestion_is_shown_behind_the_cursor_and_tab_inserts_it(editor, engine):
    engine.model.says({"x = ": "compute(1)"})
    editor.open()
    editor.keys("ix = ")
    editor.sees("compute(1)")
    assert editor.screen(1) == ["x = compute(1)"]
    assert editor.lines == ["x = "]
    editor.keys("<Tab>")
    editor.has("x = compute(1)")
    assert editor.cursor == (1, 14)
    editor.sees(None)
