"""What stands around the cursor while a person types, by the habits that editors share."""

from __future__ import annotations

from lsp_server.benchmark.editing_trace import TypedText


def writing(todo: str, before: str = "", rest: str = "\nend\n") -> TypedText:
    return TypedText(before, todo, rest)


def test_an_opened_bracket_is_closed_right_of_the_cursor():
    typist = writing("f(a)")
    typist.type(2)
    assert (typist.before, typist.after) == ("f(", ")\nend\n")


def test_a_bracket_the_editor_closed_is_typed_over():
    typist = writing('f("a")')
    typist.type(3)
    assert (typist.before, typist.after) == ('f("', '")\nend\n')
    typist.type(3)
    assert (typist.before, typist.after) == ('f("a")', "\nend\n")


def test_nothing_is_closed_before_a_word():
    typist = writing("(", rest="x\n")
    typist.type(1)
    assert (typist.before, typist.after) == ("(", "x\n")


def test_an_apostrophe_after_a_word_stays_alone():
    typist = writing("don't")
    typist.type(4)
    assert (typist.before, typist.after) == ("don'", "\nend\n")


def test_typing_stops_at_the_end_of_the_line():
    typist = writing("ab\ncd")
    typist.type(4)
    assert (typist.before, typist.todo) == ("ab", "\ncd")


def test_a_taken_suggestion_is_the_rest_of_the_line_with_what_was_closed_used_up():
    typist = writing("f(g(x))\ny")
    typist.type(2)
    typist.accept()
    assert (typist.before, typist.after, typist.todo) == ("f(g(x))", "\nend\n", "\ny")


def test_only_letters_and_digits_are_taken_back_and_then_written_again():
    typist = writing("a.bc")
    typist.type(4)
    typist.delete(4)
    assert (typist.before, typist.todo) == ("a.", "bc")


def test_a_new_line_is_indented_like_the_last_and_deeper_in_a_block():
    typist = writing("\n        x\n    y", before="    if a:")
    typist.enter()
    assert typist.before == "    if a:\n        "
    typist.settle()
    typist.type(1)
    typist.enter()
    assert typist.before == "    if a:\n        x\n        "
    typist.settle()
    assert (typist.before, typist.todo) == ("    if a:\n        x\n    ", "y")


def test_enter_between_brackets_moves_the_closing_one_below_and_going_on_steps_over_it():
    typist = writing("f(\n    a\n)")
    typist.type(2)
    typist.enter()
    assert (typist.before, typist.after) == ("f(\n    ", "\n)\nend\n")
    typist.settle()
    typist.type(1)
    typist.enter()
    typist.settle()
    assert (typist.before, typist.after, typist.todo) == ("f(\n    a\n)", "\nend\n", "")


def test_in_the_end_the_document_is_the_files_own_text():
    """However far the person got, and whatever was closed in vain."""
    typist = writing("f([\n  1", before="# top\n")
    typist.type(4)
    assert typist.finish() == "# top\nf([\n  1\nend\n"
