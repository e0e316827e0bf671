"""Accepted text, followed through edits."""

from __future__ import annotations

import pytest

from lsp_server.usage_statistics.watch import AcceptedText


def is_kept(*documents: str) -> bool:
    """Accept ``foo(a)`` in ``x = foo(a)``, follow these versions of the document, and return ``is_kept``."""
    accepted = AcceptedText("foo(a)", 4, "x = foo(a)\ny\n")
    for document in documents:
        accepted.follow(document)
    return accepted.is_kept()


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
def test_text_near_its_offset_is_kept(documents, expected):
    """Edits above it and formatting do not matter."""
    assert is_kept(*documents) is expected


def test_equal_text_far_away_is_not_counted():
    line = "x = foo(a)\n"
    accepted = AcceptedText("foo(a)", 10 * len(line) + 4, line * 20)
    accepted.follow(line * 10 + "\n" * 30 + line * 9)
    assert not accepted.is_kept()
