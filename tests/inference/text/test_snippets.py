"""Snippets of source files, and their BM25 ranking."""

from __future__ import annotations

import pytest

from inference.text.snippets import bm25, definitions, import_lines, split_file, words


@pytest.mark.parametrize(
    ("language", "text", "names"),
    [
        ("python", "class A:\n    def f(self):\n        pass\n", ["A", "f"]),
        ("typescript", "interface A {\n  x: number\n}\nfunction f() {\n}\n", ["A", "f"]),
        ("go", "package p\nfunc (a A) F() {\n}\ntype T struct {\n\tx int\n}\n", ["F", "T"]),
        ("rust", "impl A {\n    fn f() {\n    }\n}\nstruct B {\n    x: i32,\n}\n", ["f", "B"]),
        ("c", "int *f(int x) {\n  return 0;\n}\n", ["f"]),
        ("java", "class A {\n  int f() {\n    return 1;\n  }\n}\n", ["A", "f"]),
        ("cpp", "namespace n {\nvoid f() {\n}\n}\n", ["n", "f"]),
        ("csharp", "class A {\n  void F() {\n  }\n}\n", ["A", "F"]),
        ("php", "<?php\nclass A {\n  function f() {\n  }\n}\n", ["A", "f"]),
        ("bash", "f() {\n  a\n}\n", ["f"]),
        ("javascript", "const f = () => {\n}\nclass A {\n}\n", ["f", "A"]),
        ("javascriptreact", "function F() {\n  return <p>hi</p>\n}\n", ["F"]),
        ("typescriptreact", "function F() {\n  return <p>hi</p>\n}\n", ["F"]),
        ("ruby", "def f\nend\n", []),
    ],
)
def test_definitions_are_found_by_grammar(language: str, text: str, names: list[str]) -> None:
    assert [snippet.defines for snippet in definitions(language, "a", text)] == names


def test_definition_keeps_indentation_and_length_limit() -> None:
    text = "class A:\n" + "".join(f"    def f{n}(self):\n        pass\n" for n in range(20))
    whole, first, *_ = definitions("python", "a.py", text)
    assert whole.text.count("\n") == 23
    assert first.text == "    def f0(self):\n        pass"


def test_portions_are_cut_at_empty_lines() -> None:
    text = "\n\n".join("\n".join(f"{n}.{line}" for line in range(14)) for n in range(3)) + "\n"
    assert [snippet.text.split("\n")[0] for snippet in split_file("a", text)] == ["0.0", "1.0", "2.0"]


@pytest.mark.parametrize(
    ("language", "text", "lines"),
    [
        ("python", "import os\nx = 1\nfrom a import (\n    b,\n)\n", "import os\nfrom a import (\n    b,\n)"),
        ("typescript", "import { a } from './a'\nconst b = 1\n", "import { a } from './a'"),
        ("c", '#include "a.h"\n#define B\n', '#include "a.h"\n'),
        ("java", "package p;\nimport a.B;\nclass C {}\n", "import a.B;"),
        ("go", 'package p\nimport (\n\t"a"\n)\n', 'import (\n\t"a"\n)'),
        ("rust", "use a::B;\nfn f() {}\n", "use a::B;"),
        ("cpp", "#include <a>\nint b;\n", "#include <a>\n"),
        ("csharp", "using A.B;\nclass C {}\n", "using A.B;"),
        ("php", "<?php\nuse A\\B;\nf();\n", "use A\\B;"),
        ("javascript", "import a from 'a'\nb()\n", "import a from 'a'"),
        ("javascriptreact", "import a from 'a'\nb()\n", "import a from 'a'"),
        ("typescriptreact", "import a from 'a'\nb()\n", "import a from 'a'"),
    ],
)
def test_imports_of_a_file_are_one_snippet(language: str, text: str, lines: str) -> None:
    assert [(snippet.path, snippet.text) for snippet in import_lines(language, "a", text)] == [("a", lines)]


def test_file_without_imports_has_no_import_snippet() -> None:
    assert import_lines("python", "a", "x = 1\n") == import_lines("ruby", "a", "require 'b'\n") == []


def test_words_include_the_parts_of_names() -> None:
    assert words("getUserName(HTTPServer, max_len)") == (
        ["getusername", "get", "user", "name", "httpserver", "http", "server", "max_len", "max", "len"]
    )


def test_bm25_matches_the_formula() -> None:
    """The term is once in one of two documents of mean length: log(1 + 1.5 / 1.5)."""
    assert bm25(["a"], [["a", "b"], ["c", "d"]]) == [pytest.approx(0.6931, abs=1e-4), 0.0]
    rare, common = bm25(["x"], [["x"], ["y"], ["z"]])[0], bm25(["x"], [["x"], ["x"], ["z"]])[0]
    assert rare > common > 0
    assert bm25([], []) == []
