"""Which lines around a piece go along with it, and that no others do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.edits.target import around

TEXT = """import os
from a import (
    b,
)

X = 1


@frozen
class A(
    Base,
):
    first = 1

    def f(self):
        return 1

    def g(self):
        return self.f()


def h():
    return A
"""
TARGET = "        return 1"
HEADS = "@frozen\nclass A(\n    Base,\n):\n\n    def f(self):"
FIRST = "\n    first = 1\n\n"
IMPORTS = "import os\nfrom a import (\n    b,\n)"


def shown(limit: int, text: str = TEXT, target: str = TARGET, language: str = "python") -> tuple[str, str]:
    start = text.index(target)
    return around(language, text, start, start + len(target), limit)


@pytest.mark.parametrize(
    ("limit", "before", "after"),
    [
        (0, "", ""),
        (17, "    def f(self):", ""),
        (56, HEADS, ""),
        (98, f"{IMPORTS}\n\n{HEADS}", ""),
        (130, f"{IMPORTS}\n\n{HEADS.replace(chr(10) * 2, FIRST)}", "    def g(self):"),
        (1_000, TEXT[: TEXT.index(TARGET)].rstrip(), TEXT[TEXT.index(TARGET) + len(TARGET) :].strip("\n").rstrip()),
    ],
)
def test_heads_then_imports_then_what_is_nearest(limit, before, after):
    assert shown(limit) == (before, after)


def test_other_languages_and_line_ends():
    text = "#include <a.h>\r\nint x;\r\nstruct A {\r\n  int y;\r\n  int f() {\r\n    return y;\r\n  }\r\n};\r\n"
    assert shown(39, text, "    return y;", "cpp") == ("#include <a.h>\n\nstruct A {\n\n  int f() {", "")


@given(st.integers(0, 400), st.integers(0, 22), st.integers(0, 5))
def test_never_more_than_there_is_room_for_and_nothing_of_the_piece_itself(limit, first, more):
    lines = [f"{line}  # {n}" for n, line in enumerate(TEXT.split("\n"))]
    target, text = "\n".join(lines[first : first + more + 1]), "\n".join(lines)
    before, after = shown(limit, text, target)
    told = [line for line in [*before.split("\n"), *after.split("\n")] if line]
    assert sum(map(len, told)) <= limit
    assert set(told) <= set(lines) - set(target.split("\n"))
