"""Accepted and typed characters of a suggestion, from client reports and document changes."""

from __future__ import annotations

import pytest

from lsp_server.usage_statistics.storage import SuggestionRow
from lsp_server.usage_statistics.watch import Suggestion


def suggestion(*texts: str, before: str = "x = ", after: str = "\ny\n") -> Suggestion:
    row = SuggestionRow(1, 0.0, "python", "starter", invoked=False, latency_ms=1.0, characters=len(texts[0]))
    return Suggestion(row, "file:///a.py", before, after, texts)


def counts(one: Suggestion) -> tuple[str, int, int, int]:
    """Return fate, length, accepted characters and typed characters."""
    return one.row.fate, one.row.characters, one.row.taken, one.row.typed


def observed(*documents: str, texts: tuple[str, ...] = ("foo(a, b)",)) -> tuple[str, int, int, int]:
    """Return the counts after the text between ``x = `` and the line end was each of ``documents``."""
    one = suggestion(*texts)
    for between in documents:
        one.observe(f"x = {between}\ny\n")
    return counts(one)


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
def test_document_shows_accepted_and_typed_text(documents, expected):
    """Document changes are the only source for clients that neither report nor run commands."""
    assert observed(*documents) == expected


def test_automatic_closing_brackets_are_not_counted():
    assert observed("f", "fo", "foo", "foo()") == ("shown", 9, 0, 4)


def test_enter_with_indentation_counts_as_typed():
    """One key inserts a line end and blanks in one change."""
    assert observed("\n        ", texts=("\n        y",)) == ("shown", 10, 0, 9)


def test_text_deleted_and_restored_counts_once():
    assert observed("foo(a, b)", "", "foo(a, b)") == ("accepted", 9, 9, 0)


def test_change_of_the_surrounding_text_is_ignored():
    """If the text around it changed, the text between may be anything."""
    one = suggestion("foo")
    assert not one.observe("x = foo\nz\n")
    assert not one.observe("X = foo\ny\n")
    assert counts(one) == ("shown", 3, 0, 0)


def test_accepted_alternative_is_recognised():
    assert observed("foo()", texts=("foo(a)", "foo()", "fo")) == ("accepted", 5, 5, 0)


def test_client_report_overrides_short_typed_text():
    one = suggestion("foo")
    one.observe("x = f\ny\n")
    one.observe("x = foo\ny\n")
    assert counts(one) == ("typed", 3, 0, 3)
    one.accept(0)
    assert counts(one) == ("accepted", 3, 2, 1)
    one.accept(0)
    assert counts(one) == ("accepted", 3, 2, 1)


def test_command_before_the_change_is_counted_once():
    one = suggestion("foo", "bar, baz")
    one.observe("x = f\ny\n")
    one.accept(0)
    assert counts(one) == ("accepted", 3, 2, 1)
    assert not one.observe("x = foo\ny\n")
    assert counts(one) == ("accepted", 3, 2, 1)


def test_reported_parts_add_up():
    """Parts are accepted word by word. The reported length counts only if the document has not changed."""
    one = suggestion("foo(a, b)")
    one.observe("x = foo\ny\n")
    one.accept_part(0, 3)
    assert counts(one) == ("partly", 9, 3, 0)
    one.accept_part(0, 4)
    assert counts(one) == ("partly", 9, 7, 0)
    assert not one.observe("x = foo(a, \ny\n")
    one.observe("x = foo(a, b)\ny\n")
    one.accept_part(0, 2)
    assert counts(one) == ("accepted", 9, 9, 0)


def test_rest_at_a_later_cursor_is_the_same_suggestion():
    one = suggestion("foo(a, b)")
    assert one.continues("x = foo(", "\ny\n", ["a, b)"])
    assert one.continues("x = foo(", ")\ny\n", ["a, b"])
    one.observe("x = foo(a, b)\ny\n")
    assert counts(one) == ("accepted", 8, 8, 0)


def test_other_text_or_position_is_another_suggestion():
    one = suggestion("foo(a, b)")
    assert not one.continues("x = foo(", "\ny\n", ["c)"])
    assert not one.continues("x = fa", "\ny\n", ["oo(a, b)"])
    assert not one.continues("x =", "\ny\n", [" foo(a, b)"])
