"""Syntax position at the end of a text, also in incomplete programs."""

from __future__ import annotations

import pytest

from inference.text.syntax_position import MAX_PARSED_CHARACTERS, parsed_window, position_at


def seen(language: str, before: str) -> tuple[str, str]:
    """Return the syntax and the open brackets at the end of ``before``."""
    position = position_at(language, before)
    return position.inside, "".join(opened.bracket for opened in position.opened)


@pytest.mark.parametrize(
    ("language", "before", "inside", "opened"),
    [
        ("python", "x = f(a, [1", "code", "(["),
        ("python", 'x = f(a, "b (', "string", "("),
        ("python", "x = 'it\ny = f(", "code", "("),
        ("python", 'x = "a"  # it\'s (', "comment", ""),
        ("python", 'def f():\n    """Says (\n    it', "string", ""),
        ("python", '"""Says (a\n"""\nf(', "code", "("),
        ("python", 'print(f"a {b.', "code", "({"),
        ("python", 'print(f"a {b} c', "string", "("),
        ("javascript", "f(`a\nd (e", "string", "("),
        ("javascript", "const a = `x ${b.", "code", "${"),
        ("javascript", "glob('src/**/*.ts', ", "code", "("),
        ("javascript", "const r = /['\"(]/; f(", "code", "("),
        ("typescript", "const f = (a: Array<string>) => {\n  g([", "code", "{(["),
        ("java", "char c = '('; /* f(", "comment", ""),
        ("c", 'int f() { char *s = "a(b', "string", "{"),
        ("cpp", "/* a */ f(", "code", "("),
        ("cpp", "/** says\n * (it", "comment", ""),
        ("csharp", 'class A { string s = "ab(', "string", "{"),
        ("go", "x := `raw\n  (a", "string", ""),
        ("rust", "fn f<'a>(x: &'a str) {\n  let c = 'x';\n  g(", "code", "{("),
        ("rust", "/// says (", "comment", ""),
        ("rust", "/// says (\n", "code", ""),
        ("php", "function f() { $a = [", "code", "{["),
        ("bash", 'if [ -f x ]; then\n  echo "a (', "string", ""),
        ("bash", 'echo "a $(f ', "code", "$("),
        ("ruby", "x = f('a (", "string", "("),
        ("ruby", "x = f(a) # (", "comment", ""),
    ],
)
def test_strings_comments_and_open_brackets(language: str, before: str, inside: str, opened: str) -> None:
    """Incomplete text is normal before a cursor."""
    got = seen(language, before)
    assert got[0] == inside
    assert inside == "comment" or got[1] == opened


def test_bracket_has_the_indentation_of_its_line() -> None:
    assert [o.indent for o in position_at("go", "func f() {\n\tif x {\n\t\tg(").opened] == [0, 4, 8]


@pytest.mark.parametrize(
    ("language", "before", "indents"),
    [
        ("cpp", "  void f(int a,\n         int b) {\n    if (g(a,\n          b)) {", [2, 4]),
        ("cpp", "  f(g(\n        1,\n      2)) {", [2]),
        ("javascript", "g(() => {\n  x(\n    1);\n}, () => {", [0, 0]),
        ("python", "x = [\n    f(a,\n      b), {", [0, 4]),
        ("go", "f()\n\tg() {", [4]),
    ],
)
def test_bracket_has_the_indentation_of_its_statement(language, before, indents):
    """The statement of ``) {`` starts on the line of ``(``."""
    assert [opened.indent for opened in position_at(language, before).opened] == indents


def test_window_starts_at_a_top_level_line() -> None:
    text = "def f():\n    x = 1\n    y = 2\n" * 2_000
    assert parsed_window("python", text, 1_000).startswith("def f():\n")
    assert text.endswith(parsed_window("python", text, 1_000))
    assert (
        900
        < len(parsed_window("python", text, 1_000))
        <= 1_000
        < MAX_PARSED_CHARACTERS
        < len(parsed_window("python", text)) + 100
    )
