"""The stop rule for a cursor (``|``)."""

from __future__ import annotations

import pytest

from inference.text.stopping import StopRule
from lsp_server.completion.stop_rule import stop_rule
from lsp_server.snapshot import Position, Snapshot, take

LINE = StopRule("line")


def at(text: str, language: str) -> Snapshot:
    before, _, after = text.partition("|")
    position = Position(before.count("\n"), len(before) - before.rfind("\n") - 1)
    return take(before + after, position, "utf-32", language=language)


@pytest.mark.parametrize(
    ("language", "text", "rule"),
    [
        # mid-line
        ("python", "x = foo(|)", LINE),
        ("python", "if |:\n    pass\n", LINE),
        ("javascript", "function f() {|}\n", LINE),
        # the end of a line that opens nothing
        ("python", "x = |", LINE),
        ("python", "x: |\n", LINE),
        ("python", "f = lambda x:|\n", LINE),
        ("python", "if f(lambda x:|\n", LINE),
        ("python", "print(x[1:|\n", LINE),
        ("javascript", "a ? b :|\n", LINE),
        # a block opener
        ("python", "def f(x):|\n", StopRule("block", 1)),
        ("python", "    async with x as y: |\n", StopRule("block", 5)),
        ("python", "def f(\n    a,\n) -> int:|\n", StopRule("block", 1)),
        ("c", "void f() {|\n", StopRule("block", 1, "}")),
        ("c", "  case 1:|\n", StopRule("block", 3)),
        ("bash", "  if [ -f x ]; then|\n", StopRule("block", 3, "fi")),
        ("bash", "for x in *; do|\n", StopRule("block", 1, "done")),
        ("ruby", "  items.each do|\n", StopRule("block", 3, "end")),
        ("lua", "local f = function(a)|\n", StopRule("block", 1, "end")),
        ("swift", "func f() {|\n", StopRule("block", 1, "}")),
        # an existing closer of the same block is not repeated
        ("go", "func f() {|\n}\n", StopRule("block", 1)),
        ("go", "func f() {\n\tif x {|\n}\n", StopRule("block", 5, "}")),
        ("ruby", "def f|\nend\n", StopRule("block", 1)),
        # data
        ("python", "x = {|\n", StopRule("block", 1, "}")),
        ("python", "x = f(|\n", LINE),
        ("python", "x = f(|\n)\n", StopRule("block", 1)),
        ("go", "import (|\n", StopRule("block", 1, ")")),
        # an empty line
        ("python", "def f(x):\n    |", StopRule("block", 4)),
        ("python", "def f(x):\n|", StopRule("block", 1)),
        ("python", "def f(x):\n    y = 1\n    |\n\ndef g(): pass\n", StopRule("block", 4)),
        ("python", "x = 1\n|", StopRule("block", 0)),
        ("", "|", StopRule("block", 0)),
        ("go", "func f() {\n\t|\n}\n", StopRule("block", 4)),
        ("go", "func f() {\n\t|\n\nfunc g() {\n}\n", StopRule("block", 4, "}")),
        ("java", "class A {\n|\n}\n", StopRule("block", 1)),
        ("python", "x = [\n    1,\n    |\n]\n", LINE),
        ("python", "x = {\n    'a': 1,\n    |\n}\n", LINE),
        ("javascript", "f(a, () => {\n  |\n});\n", StopRule("block", 2)),
        # an empty list that is closed below: all of its elements
        ("python", "x = [\n    |\n]\n", StopRule("block", 4)),
        ("python", "x = {\n|\n}\n", StopRule("block", 1)),
        ("typescript", "  function f(\n    |\n  ) {\n  }\n", StopRule("block", 4)),
        ("python", "x = [\n    |\n    2,\n]\n", LINE),
        ("python", "x = [1,\n    |\n]\n", LINE),
        ("python", "x = [\n    |\n)\n", LINE),
        ("python", "x = [\n    |\n", LINE),
        # a head of several lines is indented like its first line
        ("cpp", "  void f(int a,\n         int b) {|\n", StopRule("block", 3, "}")),
        ("cpp", "  void f(int a,\n         int b) {\n    |\n  }\n", StopRule("block", 4)),
        ("cpp", "void f(\n    int b) {\n    |\n}\n", StopRule("block", 4)),
        ("cpp", "void f(int a,\n       int b) {\n  |\n", StopRule("block", 2, "}")),
        ("cpp", "A::A(int a)\n    : a_(a) {\n  |\n}\n", StopRule("block", 2)),
        ("cpp", "A::A(int a)\n    : a_(a) {\n  |\n\nvoid f() {\n}\n", StopRule("block", 2, "}")),
        ("javascript", "f(a, (\n    b) => {\n  |\n});\n", StopRule("block", 2)),
        ("javascript", "g(() => {\n  x();\n}, () => {\n  |\n});\n", StopRule("block", 2)),
        # a namespace's body is not indented
        ("cpp", "namespace a {\nnamespace b {\n\n|\n}  // namespace b\n}\n", StopRule("block", 0)),
        ("c", 'extern "C" {\n|\n}\n', StopRule("block", 0)),
        ("cpp", "namespace a {\nvoid f() {\n|\n}\n}\n", StopRule("block", 1)),
        # strings and comments
        ("python", 'x = f"a {|\n', LINE),
        ("python", 'x = "if x:|\n', LINE),
        ("python", 'def f():\n    """Says\n    |\n    """\n', LINE),
        ("python", 'def f():\n    """Says"""\n    |\n', StopRule("block", 4)),
        ("python", "# do this:|\n", LINE),
        ("javascript", "x = `a {|`\n", LINE),
        ("javascript", "x = `a ${\n  |\n", LINE),
        ("javascript", "x = `a ${b.map(c => {|\n", StopRule("block", 1, "}")),
        ("cpp", "/* one {\n   |\n", LINE),
        ("cpp", "/* one { */\n|\n", StopRule("block", 0)),
        ("rust", "/// Says {|\nfn f() {}\n", LINE),
        ("kotlin", "// {|\n", LINE),
        ("kotlin", 'val x = "{|\n', LINE),
    ],
)
def test_stop_rule_follows_from_the_syntax(language: str, text: str, rule: StopRule) -> None:
    assert stop_rule(at(text, language)) == rule


@pytest.mark.parametrize("language", ["python", "go"])
def test_only_text_near_the_cursor_is_parsed(language: str) -> None:
    """A bracket left open a hundred kilobytes above does not count."""
    text = "broken(((\n" + "x = 1\n" * 20_000
    assert stop_rule(at(text + "|", language)) == StopRule("block", 0)
