"""Accepted text, followed through edits."""

from __future__ import annotations

import pytest

from lsp_server.usage_statistics.watch import AcceptedText


def stands(*documents: str) -> bool:
    """``foo(a)``, accepted in ``x = foo(a)``, after the document has been these."""
    piece = AcceptedText("foo(a)", 4, "x = foo(a)\ny\n")
    for document in documents:
        piece.follow(document)
    return piece.stands()


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ((), True),
        (("x = foo(a)\ny\nmore\n",), True),
        (("import os\n" * 50 + "x = foo(a)\ny\n",), True),
        (("import os\nx = foo(a)\ny\n", "import os\n\n\ny = foo(a)\ny\n"), True),
        (("x = foo(\n    a\n)\ny\n",), True),
        (("x = \ny\n",), False),
        (("x = foo(b)\ny\n",), False),
        (("x = \ny\n", "x = \ny\n" + "z\n" * 20 + "foo(a)\n"), False),
        (("",), False),
    ],
)
def test_kept_is_what_stands_near_where_it_was(documents, expected):
    """Wherever edits above have moved it to, and however a formatter has set it."""
    assert stands(*documents) is expected


def test_one_of_many_like_it_is_not_taken_for_another():
    """Far away it may stand for ever."""
    line = "x = foo(a)\n"
    piece = AcceptedText("foo(a)", 10 * len(line) + 4, line * 20)
    piece.follow(line * 10 + "\n" * 30 + line * 9)
    assert not piece.stands()
