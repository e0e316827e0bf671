"""The pieces of a file that may be shown elsewhere."""

from __future__ import annotations

import pytest

from inference.text.snippets import definitions, import_lines, portions


@pytest.mark.parametrize(
    ("language", "text", "names"),
    [
        ("python", "class A:\n    def f(self):\n        pass\n", ["A", "f"]),
        ("typescript", "interface A {\n  x: number\n}\nfunction f() {\n}\n", ["A", "f"]),
        ("go", "package p\nfunc (a A) F() {\n}\ntype T struct {\n\tx int\n}\n", ["F", "T"]),
        ("rust", "impl A {\n    fn f() {\n    }\n}\nstruct B {\n    x: i32,\n}\n", ["f", "B"]),
        ("c", "int *f(int x) {\n  return 0;\n}\n", ["f"]),
        ("java", "class A {\n  int f() {\n    return 1;\n  }\n}\n", ["A", "f"]),
        ("ruby", "def f\nend\n", []),
    ],
)
def test_definitions_are_found_by_grammar(language: str, text: str, names: list[str]) -> None:
    assert [piece.defines for piece in definitions(language, "a", text)] == names


def test_a_definition_keeps_its_indentation_and_has_an_end() -> None:
    text = "class A:\n" + "".join(f"    def f{n}(self):\n        pass\n" for n in range(20))
    whole, first, *_ = definitions("python", "a.py", text)
    assert whole.text.count("\n") == 23
    assert first.text == "    def f0(self):\n        pass"


def test_portions_are_cut_at_empty_lines() -> None:
    text = "\n\n".join("\n".join(f"{n}.{line}" for line in range(14)) for n in range(3)) + "\n"
    assert [piece.text.split("\n")[0] for piece in portions("a", text)] == ["0.0", "1.0", "2.0"]


@pytest.mark.parametrize(
    ("language", "text", "lines"),
    [
        ("python", "import os\nx = 1\nfrom a import (\n    b,\n)\n", "import os\nfrom a import (\n    b,\n)"),
        ("typescript", "import { a } from './a'\nconst b = 1\n", "import { a } from './a'"),
        ("c", '#include "a.h"\n#define B\n', '#include "a.h"\n'),
        ("java", "package p;\nimport a.B;\nclass C {}\n", "import a.B;"),
        ("go", 'package p\nimport (\n\t"a"\n)\n', 'import (\n\t"a"\n)'),
        ("rust", "use a::B;\nfn f() {}\n", "use a::B;"),
    ],
)
def test_what_a_document_imports_is_one_piece(language: str, text: str, lines: str) -> None:
    assert [(piece.path, piece.text) for piece in import_lines(language, "a", text)] == [("a", lines)]


def test_nothing_imported_gives_no_piece() -> None:
    assert import_lines("python", "a", "x = 1\n") == import_lines("ruby", "a", "require 'b'\n") == []
