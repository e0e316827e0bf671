"""Lines around the target that are sent as context."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.edits.target import surrounding_lines

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


def surrounding(limit: int, text: str = TEXT, target: str = TARGET, language: str = "python") -> tuple[str, str]:
    start = text.index(target)
    return surrounding_lines(language, text, start, start + len(target), limit)


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
def test_heads_come_first_then_imports_then_nearest_lines(limit, before, after):
    assert surrounding(limit) == (before, after)


def test_other_languages_and_line_ends_are_supported():
    text = "#include <a.h>\r\nint x;\r\nstruct A {\r\n  int y;\r\n  int f() {\r\n    return y;\r\n  }\r\n};\r\n"
    assert surrounding(39, text, "    return y;", "cpp") == ("#include <a.h>\n\nstruct A {\n\n  int f() {", "")


@given(st.integers(0, 400), st.integers(0, 22), st.integers(0, 5))
def test_limit_holds_and_the_target_is_not_repeated(limit, first, more):
    lines = [f"{line}  # {n}" for n, line in enumerate(TEXT.split("\n"))]
    target, text = "\n".join(lines[first : first + more + 1]), "\n".join(lines)
    before, after = surrounding(limit, text, target)
    taken = [line for line in [*before.split("\n"), *after.split("\n")] if line]
    assert sum(map(len, taken)) <= limit
    assert set(taken) <= set(lines) - set(target.split("\n"))
