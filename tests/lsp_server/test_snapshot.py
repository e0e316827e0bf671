"""Snapshots: line ends and code units as LSP 3.18 defines them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.snapshot import Encoding, Position, take, units

ENCODINGS: list[Encoding] = ["utf-8", "utf-16", "utf-32"]


@pytest.mark.parametrize(
    ("text", "line", "character", "encoding", "left", "right"),
    [
        ("ab\ncd\n", 1, 1, "utf-16", "c", "d"),
        ("ab\r\ncd\r\n", 1, 2, "utf-16", "cd", ""),
        ("ab\rcd", 1, 0, "utf-16", "", "cd"),
        # an emoji is 2 units of UTF-16, 4 of UTF-8, 1 of UTF-32
        ("a😋b", 0, 3, "utf-16", "a😋", "b"),
        ("a😋b", 0, 5, "utf-8", "a😋", "b"),
        ("a😋b", 0, 2, "utf-32", "a😋", "b"),
        # a position inside a character is before it
        ("a😋b", 0, 2, "utf-16", "a", "😋b"),
        ("é", 0, 1, "utf-8", "", "é"),
        # neither form feeds nor U+2028 nor U+0085 end a line
        ("a\fb\nc", 1, 1, "utf-16", "c", ""),
        ("a\fb\nc", 0, 2, "utf-16", "a\f", "b"),
        ("a\u2028b\u0085c\vd\nx", 0, 7, "utf-16", "a\u2028b\u0085c\vd", ""),
        # outside the document: the nearest position inside
        ("ab\ncd", 0, 99, "utf-16", "ab", ""),
        ("ab\ncd", 9, 1, "utf-16", "c", "d"),
        ("", 0, 0, "utf-16", "", ""),
        ("", 5, 5, "utf-8", "", ""),
        ("ab\n", 1, 0, "utf-16", "", ""),
    ],
)
def test_left_and_right_of_the_cursor(text, line, character, encoding, left, right):
    snapshot = take(text, Position(line, character), encoding)
    assert (snapshot.left, snapshot.right) == (left, right)


def test_snapshot_has_lf_and_keeps_the_line_end():
    snapshot = take("a\r\nb\r\nc", Position(1, 1), "utf-16")
    assert (snapshot.before, snapshot.after, snapshot.line_end) == ("a\nb", "\nc", "\r\n")


def test_range_of_the_line_is_in_the_clients_units():
    snapshot = take("x\n\tα😋 = \r\n", Position(1, 3), "utf-8")
    assert (snapshot.line_start(), snapshot.line_stop()) == (Position(1, 0), Position(1, 10))


@pytest.mark.parametrize(
    ("text", "line", "character", "start", "stop", "chosen", "seen"),
    [
        ("math.sq\n", 0, 7, (0, 5), (0, 7), "sqrt", ("math.sqrt", "\n", 0)),
        ("a\nx = (ma)\n", 1, 6, (1, 5), (1, 7), "max", ("a\nx = (max", ")\n", 1)),
        # code units of the client: the emoji is two
        ("'😋'.le", 0, 6, (0, 5), (0, 7), "lower", ("'😋'.lower", "", 0)),
        ("x", 0, 1, (0, 0), (0, 1), "a\r\nb", ("a\nb", "", 1)),
    ],
)
def test_selected_list_entry_is_applied(text, line, character, start, stop, chosen, seen):
    snapshot = take(text, Position(line, character), "utf-16").selecting(Position(*start), Position(*stop), chosen)
    assert snapshot is not None
    assert (snapshot.before, snapshot.after, snapshot.line) == seen


@pytest.mark.parametrize(
    ("start", "stop"), [((0, 0), (0, 2)), ((1, 0), (1, 1)), ((1, 3), (1, 4)), ((0, 1), (1, 2)), ((2, 0), (2, 0))]
)
def test_list_entry_away_from_the_cursor_is_refused(start, stop):
    assert take("ab\ncdef\n", Position(1, 2), "utf-16").selecting(Position(*start), Position(*stop), "x") is None


@given(st.text(alphabet="aé😋\t\f\u2028\n\r", max_size=40), st.integers(0, 10), st.integers(0, 20))
def test_snapshot_keeps_all_text_and_the_position(text, line, character):
    """For any position the client sends, ``here`` is inside the document."""
    for encoding in ENCODINGS:
        snapshot = take(text, Position(line, character), encoding)
        assert snapshot.before + snapshot.after == text.replace("\r\n", "\n").replace("\r", "\n") or "\r" in text
        again = take(text, snapshot.here(), encoding)
        assert (again.before, again.after) == (snapshot.before, snapshot.after)
        assert snapshot.line_stop().character == units(snapshot.left + snapshot.right, encoding)


def test_snapshot_of_a_large_document_is_fast():
    """Not a benchmark: the line is found without a list of all lines."""
    text = "x = 1\n" * 200_000
    assert take(text, Position(199_999, 5), "utf-16").left == "x = 1"
