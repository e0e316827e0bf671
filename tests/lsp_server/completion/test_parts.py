"""The small pure steps of a suggestion: window, amount, shape."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.completion.shape import shape
from lsp_server.completion.window import prefix_window, suffix_window
from lsp_server.snapshot import Position, Snapshot, take


def at(text: str) -> Snapshot:
    """The cursor stands at ``|``."""
    before, _, after = text.partition("|")
    return take(before + after, Position(before.count("\n"), len(before) - before.rfind("\n") - 1), "utf-32")


LINES = "".join(f"line number {n}\n" for n in range(1000))


def test_short_document_is_shown_whole():
    assert (prefix_window("abc", 10), suffix_window("abc", 10)) == ("abc", "abc")


def test_windows_are_whole_lines_next_to_the_cursor():
    prefix, suffix = prefix_window(LINES + "x", 500), suffix_window(LINES, 500)
    assert prefix.startswith("line number ") and prefix.endswith("x")
    assert LINES.startswith(suffix) and suffix.endswith("\n")


def test_window_start_stays_while_typing():
    """Or every key would make the engine read the whole prompt again."""
    starts = {prefix_window(LINES + "x" * n, 2000)[:40] for n in range(400)}
    assert len(starts) <= 2


@given(st.text(alphabet="ab\n", max_size=300), st.integers(1, 100))
def test_windows_keep_to_their_limit_and_touch_the_cursor(text, limit):
    prefix, suffix = prefix_window(text, limit), suffix_window(text, limit)
    assert len(prefix) <= limit and text.endswith(prefix)
    assert len(suffix) <= limit and text.startswith(suffix)
    assert not text or (prefix and suffix)


@pytest.mark.parametrize(
    ("document", "text", "shown"),
    [
        ("x = |", "1", "1"),
        ("x = |", "1  \n", "1"),
        ("x = |", "  \n ", ""),
        ("x = |\ny = 2\n", "1\ny = 3", "1\ny = 3"),
        # saying what stands below is saying nothing
        ("|\ny = 2\nz = 3\n", "y = 2", ""),
        ("|\ny = 2\nz = 3\n", "y = 2\nz = 3", ""),
        ("y|\ny = 2\n", " = 2", ""),
        ("|\ny = 2\nz = 3\n", "y = 2\nz = 4", "y = 2\nz = 4"),
        ("f(|)\n", "a", "a"),
    ],
)
def test_what_is_shown(document, text, shown):
    assert shape(at(document), text) == shown
