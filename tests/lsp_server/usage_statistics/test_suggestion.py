"""How much of a suggestion was accepted and how much typed, from what clients say and what documents show."""

from __future__ import annotations

import pytest

from lsp_server.usage_statistics.storage import SuggestionRow
from lsp_server.usage_statistics.watch import Suggestion


def suggestion(*texts: str, before: str = "x = ", after: str = "\ny\n") -> Suggestion:
    row = SuggestionRow(1, 0.0, "python", "starter", invoked=False, latency_ms=1.0, characters=len(texts[0]))
    return Suggestion(row, "file:///a.py", before, after, texts)


def told(one: Suggestion) -> tuple[str, int, int, int]:
    """What became of it: its fate, its length, and how much of it was taken and typed."""
    return one.row.fate, one.row.characters, one.row.taken, one.row.typed


def shown(*documents: str, texts: tuple[str, ...] = ("foo(a, b)",)) -> tuple[str, int, int, int]:
    """What is told after the line between ``x = `` and its end has been these, one after the other."""
    one = suggestion(*texts)
    for between in documents:
        one.look(f"x = {between}\ny\n")
    return told(one)


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ((), ("shown", 9, 0, 0)),
        (("foo(a, b)",), ("accepted", 9, 9, 0)),
        (("f", "fo", "foo(a, b)"), ("accepted", 9, 7, 2)),
        (("foo(",), ("partly", 9, 4, 0)),
        (("foo(", "foo(a", "foo(a,", "foo(a, b", "foo(a, b)"), ("partly", 9, 4, 5)),
        (("f", "fo", "foo", "foo(", "foo(a", "foo(a, ", "foo(a, b", "foo(a, b)"), ("typed", 9, 0, 9)),
        (("f", "fo", "fox"), ("shown", 9, 0, 2)),
        (("bar", "foo(a, b)?"), ("shown", 9, 0, 0)),
    ],
)
def test_document_tells_what_was_taken_and_what_was_typed(documents, expected):
    """Nothing else is known where a client reports nothing and runs no commands."""
    assert shown(*documents) == expected


def test_closers_that_the_editor_puts_behind_the_cursor_are_no_part_of_what_was_typed():
    assert shown("f", "fo", "foo", "foo()") == ("shown", 9, 0, 4)


def test_enter_that_indents_is_a_key():
    """Four blanks and a line end come by one change, and by one key."""
    assert shown("\n        ", texts=("\n        y",)) == ("shown", 10, 0, 9)


def test_what_is_deleted_and_comes_again_counts_once():
    assert shown("foo(a, b)", "", "foo(a, b)") == ("accepted", 9, 9, 0)


def test_edit_elsewhere_says_nothing():
    """The text around it has to be as it was: else what stands there may be anything."""
    one = suggestion("foo")
    assert not one.look("x = foo\nz\n")
    assert not one.look("X = foo\ny\n")
    assert told(one) == ("shown", 3, 0, 0)


def test_alternative_is_recognised():
    assert shown("foo()", texts=("foo(a)", "foo()", "fo")) == ("accepted", 5, 5, 0)


def test_client_that_says_accepted_is_believed_of_what_is_short_enough_to_be_typed():
    one = suggestion("foo")
    one.look("x = f\ny\n")
    one.look("x = foo\ny\n")
    assert told(one) == ("typed", 3, 0, 3)
    one.accept(0)
    assert told(one) == ("accepted", 3, 2, 1)
    one.accept(0)
    assert told(one) == ("accepted", 3, 2, 1)


def test_command_may_come_before_the_change():
    one = suggestion("foo", "bar, baz")
    one.look("x = f\ny\n")
    one.accept(0)
    assert told(one) == ("accepted", 3, 2, 1)
    assert not one.look("x = foo\ny\n")
    assert told(one) == ("accepted", 3, 2, 1)


def test_parts_that_the_client_reports_add_up_to_all_of_it():
    """Word by word. The document is asked first; what the client says counts where it has not changed."""
    one = suggestion("foo(a, b)")
    one.look("x = foo\ny\n")
    one.accept_part(0, 3)
    assert told(one) == ("partly", 9, 3, 0)
    one.accept_part(0, 4)
    assert told(one) == ("partly", 9, 7, 0)
    assert not one.look("x = foo(a, \ny\n")
    one.look("x = foo(a, b)\ny\n")
    one.accept_part(0, 2)
    assert told(one) == ("accepted", 9, 9, 0)


def test_rest_at_a_later_cursor_is_the_same_suggestion():
    one = suggestion("foo(a, b)")
    assert one.goes_on("x = foo(", "\ny\n", ["a, b)"])
    assert one.goes_on("x = foo(", ")\ny\n", ["a, b"])
    one.look("x = foo(a, b)\ny\n")
    assert told(one) == ("accepted", 8, 8, 0)


def test_other_text_or_other_place_is_another_suggestion():
    one = suggestion("foo(a, b)")
    assert not one.goes_on("x = foo(", "\ny\n", ["c)"])
    assert not one.goes_on("x = fa", "\ny\n", ["oo(a, b)"])
    assert not one.goes_on("x =", "\ny\n", [" foo(a, b)"])
