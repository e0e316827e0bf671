"""Detection of holes that need a name from another file."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.text.source_files import SourceFile
from lsp_server.benchmark.gains.gain_holes import GainHole, defined_names

KNOWN = defined_names(
    [
        SourceFile("shapes.py", "python", "def area(a):\n    return a\n\n\nclass Box:\n    x = 1\n"),
        SourceFile("shop.py", "python", "def price(a):\n    return a\n"),
    ]
)


def hole(before: str, middle: str) -> GainHole:
    return GainHole("shop.py", "line", before, middle, "\n", Path("/project"), "python")


@pytest.mark.parametrize(
    ("middle", "window", "names"),
    [
        ("x = area(price(Box))", "", {"area", "Box"}),
        ("x = area(1)", "from shapes import area", set()),
        ("x = perimeter(1)", "", set()),
        ('x = "area"  # of a Box', "", set()),
    ],
    ids=["defined there, not here", "in the window", "defined nowhere", "in strings and comments"],
)
def test_names_of_other_files_are_identifiers_not_in_the_window(middle, window, names):
    assert KNOWN.in_other_files(hole("x = 2\n", middle), window) == names


def test_end_of_a_half_typed_name_is_no_identifier():
    """A tool box is no box."""
    assert KNOWN.in_other_files(hole("Tool", "Box(1)"), "") == set()
    assert KNOWN.in_other_files(hole("Tool(", "Box(1)"), "") == {"Box"}
