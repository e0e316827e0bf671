"""Which pieces speak of what stands at the cursor."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inference.text.context import ContextChunk
from inference.text.excerpts import Piece
from inference.text.relevance import NAMES, Here, bm25, told, words


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


NOTE = Piece("note.py", "def area_of(shape):\n    return shape.area()")
HERE = Here("python", "main.py", "import geometry_of_shapes\n\nx = area(", ")\n", "x = area()\n")


def test_names_of_the_document_come_before_pieces_of_others() -> None:
    """Its far places are not in the window, and what is missing is more often called there than anywhere else."""
    names = ContextChunk("main.py", "Names: geometry_of_shapes")
    assert told(HERE, [NOTE], 200) == (names, ContextChunk(NOTE.path, NOTE.text))
    assert told(HERE, [], 200) == (names,)


def test_names_take_no_more_than_their_share_and_leave_the_rest() -> None:
    room = len(NOTE.text) + len("Names: geometry_of_shapes")
    assert [chunk.path for chunk in told(HERE, [NOTE], room)] == ["main.py", "note.py"]
    assert [chunk.path for chunk in told(HERE, [NOTE], room - 1)] == ["main.py"]
    assert [chunk.path for chunk in told(HERE, [NOTE], len(NOTE.text))] == ["note.py"]
    assert len("Names: geometry_of_shapes") > NAMES * len(NOTE.text)


def test_a_document_that_is_no_file_lists_nothing() -> None:
    assert told(replace(HERE, path=""), [], 200) == ()
