"""Prefix and suffix windows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lsp_server.completion.windows import prefix_window, suffix_window

LINES = "".join(f"line number {n}\n" for n in range(1000))


def test_short_document_fits_the_windows():
    assert (prefix_window("abc", 10), suffix_window("abc", 10)) == ("abc", "abc")


def test_windows_are_whole_lines_next_to_the_cursor():
    prefix, suffix = prefix_window(LINES + "x", 500), suffix_window(LINES, 500)
    assert prefix.startswith("line number ") and prefix.endswith("x")
    assert LINES.startswith(suffix) and suffix.endswith("\n")


def test_window_start_stays_while_typing():
    """Otherwise the engine would read the whole prompt again at each keystroke."""
    starts = {prefix_window(LINES + "x" * n, 2000)[:40] for n in range(400)}
    assert len(starts) <= 2


@given(st.text(alphabet="ab\n", max_size=300), st.integers(1, 100))
def test_windows_are_limited_and_touch_the_cursor(text, limit):
    prefix, suffix = prefix_window(text, limit), suffix_window(text, limit)
    assert len(prefix) <= limit and text.endswith(prefix)
    assert len(suffix) <= limit and text.startswith(suffix)
    assert not text or (prefix and suffix)
