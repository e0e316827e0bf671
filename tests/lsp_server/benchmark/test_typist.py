"""The text around the cursor while typing in an editor with the usual behaviour."""

from __future__ import annotations

from lsp_server.benchmark.editing_trace import TypedText


def writing(todo: str, before: str = "", rest: str = "\nend\n") -> TypedText:
    return TypedText(before, todo, rest)


def test_opened_bracket_is_closed_right_of_the_cursor():
    typist = writing("f(a)")
    typist.type(2)
    assert (typist.before, typist.after) == ("f(", ")\nend\n")


def test_automatically_closed_bracket_is_typed_over():
    typist = writing('f("a")')
    typist.type(3)
    assert (typist.before, typist.after) == ('f("', '")\nend\n')
    typist.type(3)
    assert (typist.before, typist.after) == ('f("a")', "\nend\n")


def test_bracket_before_a_word_is_not_closed():
    typist = writing("(", rest="x\n")
    typist.type(1)
    assert (typist.before, typist.after) == ("(", "x\n")


def test_apostrophe_after_a_word_is_not_closed():
    typist = writing("don't")
    typist.type(4)
    assert (typist.before, typist.after) == ("don'", "\nend\n")


def test_typing_stops_at_the_end_of_the_line():
    typist = writing("ab\ncd")
    typist.type(4)
    assert (typist.before, typist.todo) == ("ab", "\ncd")


def test_accepting_the_line_consumes_its_closed_brackets():
    typist = writing("f(g(x))\ny")
    typist.type(2)
    typist.accept()
    assert (typist.before, typist.after, typist.todo) == ("f(g(x))", "\nend\n", "\ny")


def test_only_letters_and_digits_are_deleted_and_retyped():
    typist = writing("a.bc")
    typist.type(4)
    typist.delete(4)
    assert (typist.before, typist.todo) == ("a.", "bc")


def test_new_line_keeps_indentation_and_deepens_in_blocks():
    typist = writing("\n        x\n    y", before="    if a:")
    typist.enter()
    assert typist.before == "    if a:\n        "
    typist.settle()
    typist.type(1)
    typist.enter()
    assert typist.before == "    if a:\n        x\n        "
    typist.settle()
    assert (typist.before, typist.todo) == ("    if a:\n        x\n    ", "y")


def test_enter_between_brackets_puts_the_closing_one_below():
    typist = writing("f(\n    a\n)")
    typist.type(2)
    typist.enter()
    assert (typist.before, typist.after) == ("f(\n    ", "\n)\nend\n")
    typist.settle()
    typist.type(1)
    typist.enter()
    typist.settle()
    assert (typist.before, typist.after, typist.todo) == ("f(\n    a\n)", "\nend\n", "")


def test_finished_document_is_the_original_file():
    """This holds at every stage of typing, and with superfluous closing brackets."""
    typist = writing("f([\n  1", before="# top\n")
    typist.type(4)
    assert typist.finish() == "# top\nf([\n  1\nend\n"
