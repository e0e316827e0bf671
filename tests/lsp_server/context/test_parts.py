"""The parts that context is gathered with: ranking, recent places, imports, pieces."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsp_server.context.imports import imported
from lsp_server.context.pieces import definitions, portions
from lsp_server.context.rank import bm25, words
from lsp_server.context.recent import Recent


def test_names_are_found_by_their_parts() -> None:
    assert words("getUserName(HTTPServer, max_len)") == (
        ["getusername", "get", "user", "name", "httpserver", "http", "server", "max_len", "max", "len"]
    )


def test_bm25_is_the_formula() -> None:
    """One document of two has the word, once, and is as long as the mean: log(1 + 1.5 / 1.5)."""
    assert bm25(["a"], [["a", "b"], ["c", "d"]]) == [pytest.approx(0.6931, abs=1e-4), 0.0]
    rare, common = bm25(["x"], [["x"], ["y"], ["z"]])[0], bm25(["x"], [["x"], ["x"], ["z"]])[0]
    assert rare > common > 0
    assert bm25([], []) == []


def test_a_place_is_remembered_when_it_is_left() -> None:
    """What stands at the cursor is in the window anyway."""
    recent, text = Recent(), "\n".join(f"line {n}" for n in range(100))
    recent.at("a", 10, text)
    recent.at("a", 30, text)
    assert list(recent.regions) == []
    recent.at("a", 70, text)
    recent.at("b", 0, "other")
    assert [(region.uri, region.line) for region in recent.regions] == [("a", 70), ("a", 30)]
    assert recent.regions[0].text.split("\n")[0] == "line 58" and recent.regions[0].text.endswith("line 82")
    recent.forget("a")
    assert list(recent.regions) == []


def test_a_place_that_is_left_twice_is_remembered_once() -> None:
    recent = Recent()
    for line in (0, 100, 5, 100):
        recent.at("a", line, "x\n" * 200)
    assert [region.line for region in recent.regions] == [5, 100]


@pytest.mark.parametrize(
    ("language", "name", "text", "found"),
    [
        ("python", "pkg/main.py", "from .util import a, b\nfrom . import other\n", ["pkg/util.py", "pkg/other.py"]),
        ("python", "main.py", "import pkg.util as u, os\nfrom pkg import other\n", ["pkg/util.py", "pkg/other.py"]),
        ("python", "pkg/sub/main.py", "from ..util import a\n", ["pkg/util.py"]),
        (
            "typescript",
            "web/a.ts",
            "import {x} from './b'\nconst c = require('../web/c')\n",
            ["web/b.ts", "web/c/index.js"],
        ),
        ("c", "src/a.c", '#include "b.h"\n#include <stdio.h>\n', ["include/b.h", "src/a.h"]),
        ("java", "A.java", "import org.x.B;\n", ["src/main/java/org/x/B.java"]),
        ("rust", "src/main.rs", "use crate::net::Client;\nmod other;\n", ["src/net/mod.rs", "src/other.rs"]),
        ("python", "main.py", "from pkg import nothing\nimport ..\n", []),
        ("typescript", "web/a.ts", "import x from '../../outside'\n", []),
    ],
)  # fmt: skip
def test_imports_lead_to_files_of_the_project(
    tmp_path: Path, language: str, name: str, text: str, found: list[str]
) -> None:
    root = tmp_path / "root"
    (tmp_path / "outside.ts").touch()
    for path in (
        *("pkg/util.py", "pkg/other.py", "web/b.ts", "web/c/index.js", "include/b.h", "src/a.h"),
        *("src/main/java/org/x/B.java", "src/net/mod.rs", "src/other.rs"),
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    paths = imported(language, text, root / name, root)
    assert [path.relative_to(root).as_posix() for path in paths] == found


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
