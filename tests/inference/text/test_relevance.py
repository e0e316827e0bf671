"""Which pieces speak of what stands at the cursor."""

from __future__ import annotations

import pytest

from inference.text.snippets import bm25, words


def test_names_are_found_by_their_parts() -> None:
    assert words("getUserName(HTTPServer, max_len)") == (
        ["getusername", "get", "user", "name", "httpserver", "http", "server", "max_len", "max", "len"]
    )


def test_bm25_is_the_formula() -> None:
    """One document of two has the word, once, and is as long as the mean: log(1 + 1.5 / 1.5)."""
    assert bm25(["a"], [["a", "b"], ["c", "d"]]) == [pytest.approx(0.6931, abs=1e-4), 0.0]
    rare, common = bm25(["x"], [["x"], ["y"], ["z"]])[0], bm25(["x"], [["x"], ["x"], ["z"]])[0]
    assert rare > common > 0
    assert bm25([], []) == []
