"""Cross-file context in a prompt: snippets as comments, within the room."""

from __future__ import annotations

from fakes.characters import CharacterTokenizer

from inference.text.prompts import Snippet, as_comment, prepend_context

A, B = Snippet("lib/a.py", "def a():\n\n    pass\n"), Snippet("web/b.ts", "let b;\r\n")
A_TEXT = "# Path: lib/a.py\n# def a():\n#\n#     pass\n"
B_TEXT = "// Path: web/b.ts\n// let b;\n"


def test_snippet_is_a_comment_in_its_language() -> None:
    assert (as_comment(A), as_comment(B)) == (A_TEXT, B_TEXT)
    assert as_comment(Snippet("Makefile", "all:")) == "# Path: Makefile\n# all:\n"


def test_most_important_snippet_is_nearest_to_the_code() -> None:
    assert prepend_context(CharacterTokenizer(), [A, B], "x = ", "\n", 2_000) == B_TEXT + A_TEXT + "x = "
    assert prepend_context(CharacterTokenizer(), [], "x = ", "\n", 2_000) == "x = "


def test_snippet_that_does_not_fit_is_left_out() -> None:
    """The text around the cursor has priority."""
    large = Snippet("c.py", "x" * 300)
    assert prepend_context(CharacterTokenizer(), [large, B], "x = ", "\n", 590) == B_TEXT + "x = "
    assert prepend_context(CharacterTokenizer(), [B], "x" * 300, "", 500) == "x" * 300


def test_typing_rarely_changes_the_chosen_snippets() -> None:
    """Each change costs a prefill of the whole prompt."""
    chunks = [Snippet(f"{n}.py", "x" * 60) for n in range(20)]
    tokenizer = CharacterTokenizer()
    taken = [prepend_context(tokenizer, chunks, "y" * n, "", 1_500)[: -n or None] for n in range(500, 756)]
    assert len(set(taken)) == 2
