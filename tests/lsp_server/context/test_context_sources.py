"""Sources of cross-file context: recent regions and imported files."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsp_server.context.cross_file import Recent
from lsp_server.context.imports import imported


def test_region_is_added_when_the_cursor_leaves_it() -> None:
    """The text at the cursor is in the window anyway."""
    recent, text = Recent(), "\n".join(f"line {n}" for n in range(100))
    recent.visit("a", 10, text)
    recent.visit("a", 30, text)
    assert list(recent.regions) == []
    recent.visit("a", 70, text)
    recent.visit("b", 0, "other")
    assert [(region.uri, region.line) for region in recent.regions] == [("a", 70), ("a", 30)]
    assert recent.regions[0].text.split("\n")[0] == "line 58" and recent.regions[0].text.endswith("line 82")
    recent.forget("a")
    assert list(recent.regions) == []


def test_region_visited_twice_is_added_once() -> None:
    recent = Recent()
    for line in (0, 100, 5, 100):
        recent.visit("a", line, "x\n" * 200)
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
def test_imports_resolve_to_project_files(
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
