"""Post-processing: the remaining text and the last rule that changed it. ``|`` marks the cursor."""

from __future__ import annotations

import pytest

from lsp_server.completion.postprocess.rules import Postprocessed, postprocess
from lsp_server.snapshot import Position, Snapshot, take


def at(text: str, language: str) -> Snapshot:
    before, _, after = text.partition("|")
    position = Position(before.count("\n"), len(before) - before.rfind("\n") - 1)
    return take(before + after, position, "utf-32", language=language)


def processed(language: str, document: str, text: str, *, cut: bool = False) -> tuple[str, str]:
    """Return the displayed text and the last rule that changed it."""
    found = postprocess(at(document, language), text, cut=cut)
    return found.text, found.rules[-1] if found.rules else ""


UNCHANGED = [
    ("python", "x = |", "1"),
    ("python", "x = |\ny = 2\n", "1\ny = 3"),
    ("python", "|\ny = 2\nz = 3\n", "y = 2\nz = 4"),
    ("python", "f(|)\n", "a, g(b)"),
    ("python", "f(|, b)\n", "a, b"),
    ("python", "x = 'a' + |'\n", "'b"),
    ("python", "def f():\n    |\n", "x = 1\n\n    return x"),
    ("python", "if x:\n|\n", "    y = 1"),
    ("python", "print('a |')\n", " b"),
    ("c", "#if 1\n#elif f(g|\n#endif\n", "(x))"),
    ("c", "int    |\nchar   b;\n", "  a;"),
    ("c", "// one\n|\nint a;\n", "// two"),
    ("python", 'print(f"a {|\n', 'b} is {c}.")'),
    ("javascript", "function f() {\n  |\n}\n", "if (x) {\n    y();\n  }"),
    ("javascript", "f(() => {|\n", "\n  g();\n})"),
    ("rust", "fn f|\n", "<'a>(x: &'a str) {"),
    ("ruby", "def f\n  |\nend\n", "if x\n    y\n  end"),
    ("go", "func f() {\n\t|\n}\n", "x := 1\n\tg(x)"),
    ("go", "func f() {\n\t|\n}\n", "if x {\n\t\tg(x,\n\t\t  y)\n\t}"),
    ("python", "# it |\n", "is so"),
    ("python", "# it\n|\n", "x = 1  # one"),
    ("python", "|\n", "x = [0, 0, 0, 0, 0, 0, 0, 0]"),
    ("javascript", "x = `a ${b|\n", ".length} in (all).`"),
    ("python", "x = '|'\n", "--------------------"),
]


@pytest.mark.parametrize(("language", "document", "text"), UNCHANGED)
def test_good_text_is_unchanged(language: str, document: str, text: str) -> None:
    assert postprocess(at(document, language), text) == Postprocessed(text)


@pytest.mark.parametrize(
    ("language", "document", "text", "shown", "rule"),
    [
        ("python", "x = |", "1  \n", "1", "blank end"),
        ("python", "x = |", "  \n ", "", "blank end"),
        ("python", "x = |)", "  \n ", "", "blank end"),
        ("python", "x = |\n", "f(\r\n    1)\r\n", "f(\n    1)", "blank end"),
        # the rest of the line
        ("python", "f(|)\n", "a)", "a", "rest of the line"),
        ("python", "f(|)\n", "g(a))", "g(a)", "rest of the line"),
        ("python", "f(g(|))\n", "a)) + 1", "a", "doubled closer"),
        ("python", "f(|, timeout=5)\n", "url, timeout=5) as x", "url", "rest of the line"),
        ("python", "f(|, timeout=5)\n", "url, timeout", "url", "rest of the line"),
        ("python", 'print("a |")\n', 'b")', "b", "rest of the line"),
        ("python", "if x |:\n", "> 1:\n    y", "> 1", "rest of the line"),
        ("javascript", "f(|);\n", "a);", "a", "rest of the line"),
        ("kotlin", "f(|)\n", "a)", "a", "rest of the line"),
        # lines below
        ("python", "|\ny = 2\nz = 3\n", "y = 2", "", "lines below"),
        ("python", "|\ny = 2\nz = 3\n", "y = 2\nz = 3", "", "lines below"),
        ("python", "y|\ny = 2\n", " = 2", "", "lines below"),
        ("python", "|\ny = 2\nz = 3\n", "x = 1\ny = 2\nz = 3", "x = 1", "lines below"),
        ("python", "|\ny = 2\nz = 3\nfoo = 4\n", "x = 1\ny = 2\nz = 3\nfo", "x = 1", "lines below"),
        ("python", "if x:\n    |\n    return x + y\n", "y = 1\n    return x + y\n    z = 2", "y = 1", "lines below"),
        ("javascript", "if (x) {|\n}\n", "\n  y();\n}", "\n  y();", "lines below"),
        # lines above
        ("python", "items.append(1)\n|\n", "items.append(1)", "", "lines above"),
        ("python", "a = first()\nb = second()\n|\n", "a = first()\nb = second()", "", "lines above"),
        # loops
        ("python", "|\n", "items.append(1)\nitems.append(1)\nitems.append(1)", "items.append(1)", "loop"),
        ("python", "|\n", "start(first)\nstop(first)\nstart(first)\nstop(first)", "start(first)\nstop(first)", "loop"),
        ("python", "x = |\n", "a.b.a.b.a.b.a.b.a", "a.b.", "loop"),
        ("python", "x = |\n", "foo, foo, foo, foo, foo, ", "foo,", "blank end"),
        # brackets
        ("python", "f(|\n", "a))", "a)", "doubled closer"),
        ("python", "x = [a|\n", ")", "", "doubled closer"),
        ("javascript", "function f() {\n  |\n", "x();\n}\n}", "x();\n}", "doubled closer"),
        ("python", "def f():\n    |\n", "x = 1\n    if x:", "x = 1", "unfinished block"),
        ("python", "def f():\n    |\n", "x = 1\n    y = f(a,\n        b", "x = 1", "unfinished block"),
        (
            "java",
            "void f() {\n  |\n}\n",
            "if (x) {\n    y();\n  } else {",
            "if (x) {\n    y();\n  }",
            "unfinished block",
        ),
        ("python", "def f():\n    |\n", "x = 1\n    y = so", "x = 1", "unfinished line"),
        # noise
        ("python", "x = 1\n|\n", "# TODO: more", "", "comments only"),
        ("python", "x = 1|\n", "  # one", "", "comments only"),
        ("go", "\t|\n", "// f does\n\t// nothing", "", "comments only"),
    ],
)
def test_rule_changes_text_as_named(language: str, document: str, text: str, shown: str, rule: str) -> None:
    assert processed(language, document, text, cut=rule == "unfinished line") == (shown, rule)


@pytest.mark.parametrize(
    ("language", "document", "text", "why"),
    [
        ("python", "x = |", " \n", "the model had nothing to add"),
        ("python", "x = |", "", "the model had nothing to add"),
        ("python", "|\ny = 2\n", "y = 2", "the model's text repeats the lines below"),
        ("python", "f(|)\n", ")", "the model's text repeats the rest of the line"),
        ("python", "|\n", "# so", "the model wrote a comment and no code"),
        ("python", "x = |", "1", ""),
    ],
)
def test_empty_text_has_a_reason_for_the_user(language: str, document: str, text: str, why: str) -> None:
    assert postprocess(at(document, language), text).empty_reason == why


@pytest.mark.parametrize(
    ("language", "document", "text", "shown"),
    [
        # one extra space (tabby#3263, #3261): token healing may repeat the blank left of the cursor
        ("python", "x = |\n", " 1", "1"),
        ("python", "def f():\n    |\n", "    return 1", "return 1"),
        ("python", "def f():\n    |\n", " return 1", "return 1"),
        ("python", "def f():\n    x = 1\n    |\n", "    return 1\n    # so", "return 1\n    # so"),
        # ... but blanks are right on a line that must be indented further
        ("python", "def f():\n|\n", "    return 1", "    return 1"),
        ("python", "    def f():\n    |\n", "    return 1", "    return 1"),
        ("python", "x = f(a,\n|\n", "      b)", "      b)"),
        # its repair broke tabs (tabby, pull request 3782)
        ("go", "func f() {\n\tif x {\n\t\t|\n\t}\n}\n", "g()\n\t\th()", "g()\n\t\th()"),
        ("go", "func f() {\n\tif x {|\n\t}\n}\n", "\n        g()\n        h()", "\n\t\tg()\n\t\th()"),
        ("go", "func f() {\n\tif x {|\n\t}\n}\n", "\n\t\tg(a,\n\t\t  b)", "\n\t\tg(a,\n\t\t  b)"),
        ("python", "def f():\n    if x:|\n", "\n\t\ty = 1", "\n        y = 1"),
        ("javascript", "if (x) {\n  if (y) {|\n  }\n}\n", "\n\t\tz();", "\n    z();"),
        # tabs and spaces in one document: leave both
        ("python", "if x:\n\ty\nif z:\n    a\n    |\n", "b\n\tc", "b\n\tc"),
    ],
)
def test_document_indentation_is_kept(language: str, document: str, text: str, shown: str) -> None:
    """Complaints 21 and 22 of users of other assistants."""
    assert postprocess(at(document, language), text).text == shown
