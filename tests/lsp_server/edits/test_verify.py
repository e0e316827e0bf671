"""Validation of rewrites, and the sentence given to the model and the user."""

from __future__ import annotations

import pytest

from lsp_server.edits.verify import Change, ReportedProblem, failure, same_behaviour, same_code

DEF = "def f(a):\n    return a"


def change(rewrite: str, original: str = DEF, **more) -> Change:
    given = {"task": "edit", "language": "python", "before": "import os\n\n", "after": "\nprint(os, f)\n", **more}
    return Change(original=original, rewrite=rewrite, **given)


@pytest.mark.parametrize(
    ("rewrite", "more", "why"),
    [
        ("def f(a):\n    return a + 1", {}, ""),
        ("def f(a):\n    return a + 1", {"whole": False}, "The answer broke off before its end."),
        ("  \n", {}, "The answer holds no code."),
        (DEF + "  ", {}, "The answer is the same code as before."),
        ("def f(a):\n    # ... rest of the code", {}, "The answer leaves out code that is to stay."),
        (
            "def f(a:\n    return a",
            {},
            "The answer does not parse: it is no valid Python: '(' was never closed, in `def f(a:`.",
        ),
        ("def f(a):\n    return b", {}, "The answer brings a new problem: undefined name 'b', in `return b`."),
        ("def g(a):\n    return a", {}, "The answer brings a new problem: undefined name 'f'."),
        # only undefined names count unless the task is a fix
        ("def f(a):\n    b = 1\n    return a", {}, ""),
        ("anything goes (", {"language": "lua"}, ""),
    ],
)
def test_failure_is_one_sentence(rewrite, more, why):
    assert failure(change(rewrite, **more)) == why


def test_rewrite_may_keep_existing_syntax_errors():
    assert failure(change("def f(a):\n    return a + 1", before="x = (\n\n")) == ""
    assert failure(change("def f(a:\n    return a )) +", before="x = [1)\n\n")) != ""


@pytest.mark.parametrize(
    ("original", "rewrite", "line", "message", "why"),
    [
        # as pyright, ruff and pyflakes word it
        ("x = foo", "x = 1", 2, '"foo" is not defined', ""),
        (
            "x = foo",
            "x = foo + 1",
            2,
            "Undefined name `foo`",
            "The problem is still there: undefined name 'foo', in `x = foo + 1`.",
        ),
        (
            "x = foo",
            "y = 1\nx = foo",
            2,
            "undefined name 'foo'",
            "The problem is still there: undefined name 'foo', in `x = foo`.",
        ),
        (
            "x = foo",
            "x = bar",
            2,
            "undefined name 'foo'",
            "The answer brings a new problem: undefined name 'bar', in `x = bar`.",
        ),
        ("x = (1", "x = (1)", 2, "'(' was never closed", ""),
        (
            "x = (1",
            "x = ((1)",
            2,
            "'(' was never closed",
            "The problem is still there: it is no valid Python: '(' was never closed, in `x = ((1)`.",
        ),
        # a fix must not cause another problem
        (
            "def f():\n    return 1",
            "def f():\n    y = 1\n    return 1",
            2,
            "whatever",
            "The answer brings a new problem: local variable 'y' is assigned to but never used, in `y = 1`.",
        ),
        # problems unknown to pyflakes are not checked
        ("def f():\n    return 1", "def f():\n    return 2", 3, "wrong type", ""),
    ],
)
def test_fix_must_remove_the_reported_problem(original, rewrite, line, message, why):
    problem = ReportedProblem(line, message)
    given = Change("fix", "python", "import os\n\n", original, "\nprint(os)\n", rewrite, reported=problem)
    assert failure(given) == why


@pytest.mark.parametrize(
    ("task", "language", "original", "rewrite", "good"),
    [
        ("document", "python", DEF, 'def f(a):\n    """It."""\n    # so\n    return a', True),
        ("document", "python", DEF, 'def f(a):\n    """It."""\n    return a + 0', False),
        ("document", "python", "def f():\n    pass", 'def f():\n    """It."""', True),
        ("document", "go", "func f() {\n}", "// f does.\nfunc f() {\n}", True),
        ("document", "go", "func f() {\n}", "// f does.\nfunc f() {\n\tg()\n}", False),
        (
            "types",
            "python",
            "def f(a, b=1):\n    x = a\n    return x",
            "def f(a: int, b: int = 1) -> int:\n    x: int = a\n    return x",
            True,
        ),
        ("types", "python", DEF, "def f(a: int) -> int:\n    return int(a)", False),
    ],
)
def test_document_and_types_tasks_change_nothing_else(task, language, original, rewrite, good):
    given = Change(task, language, "", original, "\n", rewrite)
    assert (failure(given) == "") is good


def test_fix_ignores_the_same_undefined_name_outside_it():
    problem = ReportedProblem(1, "undefined name 'foo'")
    given = Change("fix", "python", "y = foo\n", "x = foo", "\n", "x = 1", reported=problem)
    assert failure(given) == ""


def test_checked_code_is_never_executed(tmp_path):
    target = tmp_path / "made"
    assert failure(change(f"import pathlib\npathlib.Path({str(target)!r}).touch()\nf = 1", original="f = 0")) == ""
    assert not target.exists()


@pytest.mark.parametrize("rewrite", ["rm -rf ~", "func f() {\n\tif {\n}", "Sure, here it is."])
def test_other_languages_are_checked_with_tree_sitter(rewrite):
    why = failure(Change("edit", "go", "package a\n\n", "func f() {\n}", "\n", rewrite))
    assert why == "The answer does not parse, or does not fit where it is to stand."


@pytest.mark.parametrize(
    ("original", "rewrite", "message", "after"),
    [
        ("x = foo", "x = 1", '"foo" is not defined', "\ny = (\n"),
        ("x = (1", "x = (1)", "'(' was never closed", "\ny = )\n"),
    ],
)
def test_fix_ignores_syntax_errors_outside_it(original, rewrite, message, after):
    """One that hid the problem from the compiler, and one that the compiler reports after the fix."""
    given = Change("fix", "python", "import os\n\n", original, after, rewrite, True, ReportedProblem(2, message))
    assert failure(given) == ""


@pytest.mark.parametrize(("added", "same"), [("  # so", True), (" + 0", False)])
def test_deeply_nested_code_is_compared(added, same):
    """A sum of 1,500 numbers is nested deeper than Python's recursion limit."""
    long = "def f():\n    return " + " + ".join("1" for _ in range(1_500))
    assert same_code("python", long, long + added) is same
    assert same_behaviour("python", long, long + added) is same
