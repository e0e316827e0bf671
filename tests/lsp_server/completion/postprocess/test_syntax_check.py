"""The syntax check drops a completion that breaks the file, and tolerates an unfinished file."""

from __future__ import annotations

import pytest

from lsp_server.completion.postprocess.syntax_check import faults, parses_no_worse
from lsp_server.snapshot import Position, Snapshot, take


def at(text: str, language: str) -> Snapshot:
    before, _, after = text.partition("|")
    position = Position(before.count("\n"), len(before) - before.rfind("\n") - 1)
    return take(before + after, position, "utf-32", language=language)


@pytest.mark.parametrize(
    ("language", "document", "text"),
    [
        ("python", "x = |\n", "f(1)"),
        ("python", "x = f(|\ny = 1\n", "a, b"),  # the document is unfinished
        ("python", "broken(((\nx = |\n", "1"),
        ("python", "def f():\n    |\n", "try:\n        x = 1"),  # the completion is
        ("python", "x = |\n", "f("),
        ("python", "|\ny = 1\n", "def f():"),
        ("javascript", "if (x)|\ny();\n", " {"),
        ("javascript", "const a = |\n", "[1, {"),
        ("bash", "if [ -f x ]; |\n", "then"),
        ("go", "package p\nfunc f() {\n\t|\n}\n", "if x {\n\t\ty()"),
        ("c", "/*\n |\n\nint x;\n", "* It's here: (a"),  # a comment that has no end yet
        ("ruby", "|\n", "def (((("),  # no grammar is no reason
    ],
)
def test_harmless_text_is_kept(language: str, document: str, text: str) -> None:
    assert parses_no_worse(at(document, language), text) == text


@pytest.mark.parametrize(
    ("language", "document", "text", "kept"),
    [
        ("python", "|\n", "x = 1 +* 2", ""),
        ("python", "def f():\n    |\n    return x\n", "x = 1\n    y = 2 3 4\n    z = 5", "x = 1"),
        ("python", "x = |\n", "1\ny = = 2", "1"),
        ("javascript", "function f() {\n  |\n}\n", "x();\n  const const;", "x();"),
        ("javascript", "f(|);\n", "function {{{ )", ""),
        ("java", "class A {\n  int f() {\n    |\n  }\n}\n", "int x = 1;\n    return );", "int x = 1;"),
    ],
)
def test_text_that_breaks_syntax_is_cut_line_by_line(language: str, document: str, text: str, kept: str) -> None:
    assert parses_no_worse(at(document, language), text) == kept


def test_faults_are_errors_and_missing_tokens() -> None:
    assert [faults("python", text) for text in ("x = 1\n", "x = = 1\n")] == [0, 1]
    assert faults("javascript", "f(\n") == 1
    assert faults("ruby", "x\n") is None


def test_only_text_near_the_cursor_is_parsed() -> None:
    """Parsing a megabyte would delay the completion."""
    far = "x = 1\n" * 20_000
    snapshot = at(f"broken(((\n{far}|\n{far}broken)))\n", "python")
    assert parses_no_worse(snapshot, "y = 1") == "y = 1"
    assert parses_no_worse(snapshot, "y = = 1") == ""


def test_completion_is_kept_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Showing an unchecked text is better than showing it late."""
    monkeypatch.setattr("lsp_server.completion.postprocess.syntax_check.SECONDS", -1.0)
    assert parses_no_worse(at("|\n", "python"), "x = = 1") == "x = = 1"
