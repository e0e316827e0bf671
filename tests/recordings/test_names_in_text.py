"""Names of modules and paths of files in text must exist.

Imports are checked by running them. Strings, comments, documentation and build files are not, and a moved module leaves
them behind.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("inference", "lsp_server")
SUFFIXES = {".py", ".md", ".toml", ".json", ".lua", ".ts", ".mjs", ".js", ".sh", ".el", ".txt", ".yml", ".yaml"}
FOLDERS_LEFT_OUT = {"node_modules", "build", "dist", "recorded", "measurements", "out"}
FILES_LEFT_OUT = {"CHANGELOG.md", "package-lock.json", "constraints.txt", Path(__file__).name}
"""The change log tells of names of the past; what a package manager writes names nothing of ours."""

DOTTED = re.compile(r"(?<![\w./@-])(?:inference|lsp_server)(?:\.[A-Za-z_]\w*)+(?::[a-z_]\w*)?(?![\w/])")
IMPORTED = re.compile(r"\bfrom ((?:inference|lsp_server)[\w.]*) import (\w+(?:, \w+)*)")
PATH = re.compile(r"(?<![\w./@%}-])(?:inference|lsp_server|tests|editor_clients|docs)/[\w*][\w./*-]*")
OF_MODULES = {"__file__", "__path__", "__name__", "__doc__", "__version__"}

WHEEL_TESTS = re.compile(r"^WHEEL_TESTS := ((?:.*\\\n)*.*)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
"""A link of Markdown to a file."""

NOT_OURS = {
    "docs/gguf.md": "of ggml-org/ggml",
    "tests/models/code_llama/test_tokenization_code_llama.py": "of huggingface/transformers",
    "editor_clients/vscode/dist/codellama-ls.vsix": "made by `make vsix`",
}
"""Texts that look like a name or a path of ours, with the reason why they are none."""


def files() -> Iterator[Path]:
    """Return every hand-written file."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if name not in FOLDERS_LEFT_OUT and not name.startswith("."))
        for path in (Path(folder, name) for name in sorted(names)):
            if path.name not in FILES_LEFT_OUT and (path.suffix in SUFFIXES or path.name == "Makefile"):
                yield path
    yield from ROOT.glob(".ci/run")


@cache
def texts() -> dict[str, str]:
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8", "replace") for path in files()}


def module_file(name: str) -> Path | None:
    """Return the source of a module or package, or None."""
    base = ROOT.joinpath(*name.split("."))
    return next((one for one in (base / "__init__.py", base.with_suffix(".py")) if one.is_file()), None)


@cache
def top_level(source: Path) -> frozenset[str]:
    """Return names that a module defines or imports, in branches too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return frozenset(found)


def exists(name: str) -> bool:
    """Return True for a module or a name in one. ``a.b:c`` is ``a.b.c``; what follows such a name is not checked."""
    parts = name.replace(":", ".").split(".")
    longest = max(n for n in range(len(parts) + 1) if n == 0 or module_file(".".join(parts[:n])))
    if longest in (0, len(parts)):
        return longest == len(parts)
    source = module_file(".".join(parts[:longest]))
    assert source is not None
    return parts[longest] in top_level(source) | OF_MODULES


def path_exists(path: str) -> bool:
    """Return True if a file or a match of the pattern exists."""
    path = path.rstrip(".-/")
    return any(ROOT.glob(path)) if "*" in path else (ROOT / path).exists()


def dotted_names(text: str) -> set[str]:
    """Return module names in a text, and names that imports in it use."""
    found = {one.group() for one in DOTTED.finditer(text)}
    for module, names in IMPORTED.findall(text):
        found |= {f"{module}.{name}" for name in names.split(", ")}
    return found


def test_module_names_in_text_exist():
    missing = [
        f"{file}: {name}"
        for file, text in texts().items()
        for name in sorted(dotted_names(text))
        if name not in NOT_OURS and not exists(name)
    ]
    assert not missing, "\n".join(missing)


def test_paths_in_text_exist():
    missing = [
        f"{file}: {path}"
        for file, text in texts().items()
        for path in sorted({one.group() for one in PATH.finditer(WHEEL_TESTS.sub("", text))})
        if path.rstrip(".") not in NOT_OURS and not path_exists(path)
    ]
    assert not missing, "\n".join(missing)


def test_links_of_markdown_lead_to_files():
    missing = [
        f"{file}: {target}"
        for file, text in texts().items()
        if file.endswith(".md")
        for target in LINK.findall(text)
        if not (ROOT / file).parent.joinpath(target).exists() and f"{file}: {target}" not in NOT_OURS
    ]
    assert not missing, "\n".join(missing)


def test_tests_that_the_wheel_must_pass_exist():
    """``WHEEL_TESTS`` in the Makefile: paths below ``tests``."""
    listed = WHEEL_TESTS.search(texts()["Makefile"])
    assert listed is not None
    names = listed[1].replace("\\\n", " ").split()
    assert len(names) > 5
    assert [name for name in names if not (ROOT / "tests" / name).exists()] == []


def test_commands_name_modules_that_have_a_main():
    """They are imported only when called."""
    from lsp_server.cli import COMMANDS

    lacking = []
    for module, _ in COMMANDS.values():
        source = module_file(module)
        if source is None or "main" not in top_level(source):
            lacking.append(module)
    assert lacking == []


def test_the_check_finds_what_it_should():
    """A check that sees nothing would pass, too."""
    found = dotted_names("see ``lsp_server.cli`` and 'inference.nowhere.x'; from lsp_server.cli import main, gone")
    assert {name for name in found if not exists(name)} == {"inference.nowhere.x", "lsp_server.cli.gone"}
    assert exists("lsp_server.cli:main") and exists("inference.__version__") and not exists("inference.cli:main")
    (path,) = (one.group() for one in PATH.finditer("as docs/nowhere.md says."))
    assert not path_exists(path) and path_exists("tests/**") and path_exists("docs/models.md.")
    assert sum(len(dotted_names(text)) for text in texts().values()) > 500
