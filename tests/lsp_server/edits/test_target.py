"""Targets: the selected lines, the definition around the cursor, or its line."""

from __future__ import annotations

import pytest

from inference.text.syntax import parse
from lsp_server.edits import definitions
from lsp_server.edits.target import MOST_LINES, find_target, selected_lines
from lsp_server.edits.tasks import DiagnosticSpan, offer_tasks
from lsp_server.snapshot import Document


def selection(marked: str) -> tuple[str, int, int]:
    """Return the text without its bars, and the selection between two bars or the cursor at a single one."""
    start = marked.index("|")
    text = marked[:start] + marked[start + 1 :]
    stop = text.find("|")
    return (text[:stop] + text[stop + 1 :], start, stop) if stop >= 0 else (text, start, start)


@pytest.mark.parametrize(
    ("marked", "lines"),
    [
        ("a\nb|c\nd\n", "bc"),
        ("a\n|bc\n|d\n", "bc"),
        ("a\r\nb|c\r\nd|\r\n", "bc\r\nd"),
        ("a\r|b\rc|d", "b\rcd"),
        ("|a\n\n\n  |\n", "a"),
        ("\n|\n\n  b\n|", "  b"),
        ("a\n|\nb", ""),
        ("a\n  |  \nb", "    "),
        ("|a\n|", "a"),
        ("a\f|b\n", "a\fb"),
        ("|", ""),
    ],
)
def test_selection_is_whole_lines_without_blank_ones_at_its_ends(marked, lines):
    text, start, stop = selection(marked)
    start, stop = selected_lines(text, start, stop)
    assert text[start:stop] == lines


@pytest.mark.parametrize(
    ("language", "marked", "first", "last", "name"),
    [
        ("python", "import a\n\n@b\n@c\nasync def f(x):\n    retu|rn x\n\ny = 1\n", "@b", "    return x", "f"),
        ("python", "class A:\n    def f(se|lf):\n        pass\n", "    def f(self):", "        pass", "f"),
        ("python", "class A:\n    x| = 1\n    def f(self):\n        pass\n", "class A:", "        pass", "A"),
        ("python", "@a\n@b|\ndef f():\n    pass\n", "@a", "    pass", "f"),
        ("python", "def f():\r\n    s = '😋é'\r\n    |x\r\n", "def f():", "    x", "f"),
        ("javascript", "export const f = (a) => {\n  retur|n a\n}\n", "export const f = (a) => {", "}", "f"),
        ("typescript", "class A {\n  f(a: B): C {\n    |g()\n  }\n}\n", "  f(a: B): C {", "  }", "f"),
        ("go", "package a\n\nfunc (s *S) F() int {\n\treturn| 1\n}\n", "func (s *S) F() int {", "}", "F"),
        ("go", "package a\n\ntype S struct {\n\ta| int\n}\n", "type S struct {", "}", "S"),
        ("rust", "impl A {\n    fn f() {\n        |g();\n    }\n}\n", "    fn f() {", "    }", "f"),
        ("rust", "impl A {\n    const X: i32| = 1;\n}\n", "impl A {", "}", "A"),
        ("c", "static int *f(int a)\n{\n    re|turn 0;\n}\n", "static int *f(int a)", "}", "f"),
        ("java", "class A {\n  int f() {\n    return| 1;\n  }\n}\n", "  int f() {", "  }", "f"),
        ("csharp", "class A {\n  int F() {\n    return| 1;\n  }\n}\n", "  int F() {", "  }", "F"),
        ("php", "<?php\nfunction f() {\n  |return 1;\n}\n", "function f() {", "}", "f"),
        ("bash", "f() {\n  |echo 1\n}\n", "f() {", "}", "f"),
    ],
)
def test_innermost_definition_includes_decorators(language, marked, first, last, name):
    text, start, stop = selection(marked)
    target = find_target(language, text, start, stop)
    lines = target.of(text).replace("\r\n", "\n").split("\n")
    assert (lines[0], lines[-1]) == (first, last)
    assert target.kind == "definition" and target.definition is not None
    assert target.definition.name == name


@pytest.mark.parametrize(
    ("language", "marked"), [("python", "import a\nx| = 1\n"), ("lua", "function f()\n  x|\nend\n")]
)
def test_outside_definitions_the_line_is_the_target(language, marked):
    text, start, stop = selection(marked)
    target = find_target(language, text, start, stop)
    assert target.kind == "line"
    assert target.of(text).strip() in ("x = 1", "x")


def test_too_long_definition_falls_back_to_the_line():
    body = "".join(f"    x{n} = {n}\n" for n in range(MOST_LINES))
    text = f"def f():\n{body}"
    target = find_target("python", text, 12, 12)
    assert (target.kind, target.of(text)) == ("line", "    x0 = 0")


@pytest.mark.parametrize(
    ("language", "text", "documented", "typed"),
    [
        ("python", "def f(a):\n    return a\n", False, False),
        ("python", 'def f(a: int) -> int:\n    """It."""\n    return a\n', True, True),
        ("python", "def f(self, *, a: int = 1) -> int:\n    return a\n", False, True),
        ("python", "def f(a: int, *b) -> int:\n    return a\n", False, False),
        ("typescript", "// It.\nfunction f(a: A, b): C {\n  return a\n}\n", True, False),
        ("typescript", "function f(a: A): C {\n  return a\n}\n", False, True),
        ("go", "// F does.\nfunc F() {\n}\n", True, True),
        ("go", "// apart\n\nfunc F() {\n}\n", False, True),
    ],
)
def test_missing_documentation_and_types_are_found(language, text, documented, typed):
    at = text.index("return") if "return" in text else text.index("func F")
    definition = find_target(language, text, at, at).definition
    assert definition is not None
    assert (definition.documented, definition.typed) == (documented, typed)


def test_text_is_parsed_once_for_all_code_actions(monkeypatch):
    """Editors request code actions at every cursor move, with a target for each diagnostic."""
    parsed = []
    monkeypatch.setattr(definitions, "parse", lambda *given: parsed.append(given) or parse(*given))
    text = "".join(f"def f{n}():\n    return {n}\n\n\n" for n in range(10))
    document = Document("file:///once.py", "python", 1, text)
    positions = [text.index(f"return {n}") for n in range(5)]
    found = offer_tasks(document, 0, 0, [DiagnosticSpan(at, at + 6, f"no {at}", n) for n, at in enumerate(positions)])
    assert [one.task.original.split("\n")[0] for one in found[:5]] == [f"def f{n}():" for n in range(5)]
    assert len(parsed) == 1
