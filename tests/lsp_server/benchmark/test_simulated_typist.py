"""The simulated typist: accepted parts of completions, and counted keys."""

from __future__ import annotations

from random import Random

import pytest

from lsp_server.benchmark.editing_trace import TypedText
from lsp_server.benchmark.simulated_typist import (
    SimulatedTypist,
    keys_without_completions,
    random_text_to_type,
    right_part,
)


def writing(todo: str, before: str = "", rest: str = "\nend\n") -> SimulatedTypist:
    return SimulatedTypist(TypedText(before, todo, rest))


def typed(simulated: SimulatedTypist, keys: int) -> SimulatedTypist:
    for _ in range(keys):
        simulated.press()
    return simulated


@pytest.mark.parametrize(
    ("todo", "keys"),
    [
        ("abc", 3),
        # the editor inserts the closing bracket, which is typed over
        ("f(a)", 4),
        # Enter inserts the indentation; one key dedents to the margin
        ("if x:\n    y\nz", 5 + 1 + 1 + 1 + 1 + 1),
        # one Enter per line, empty ones included: the editor removes its trailing indentation itself
        ("    a\n\n    b", 5 + 1 + 1 + 1 + 1),
        # cursor down, over the bracket that the editor inserted below
        ("f(\n    a\n)", 2 + 1 + 1 + 1 + 1),
    ],
)
def test_each_key_is_counted_as_on_a_keyboard(todo: str, keys: int) -> None:
    simulated = writing(todo)
    assert keys_without_completions(simulated.typist) == keys
    typed(simulated, keys)
    assert simulated.done and simulated.keys == keys
    assert (simulated.typist.before, simulated.typist.after) == (todo, "\nend\n")


@pytest.mark.parametrize(
    ("todo", "shown", "taken"),
    [
        ("value + 1", "value", ("whole", "value")),
        ("a = 1\nb = 2", "a = 1\nb = 2", ("whole", "a = 1\nb = 2")),
        ("a = 1\nb = 2", "a = 1\nb = 3", ("line", "a = 1")),
        ("\n    a = 1\nb", "\n    a = 1\n    c", ("line", "\n    a = 1")),
        ("value + 1", "value - 1", ("word", "value")),
        (" == 1", " == 2", ("word", " ==")),
        ("value", "other", None),
        ("value", "", None),
        # too short to be worth a key
        ("x = 1", "x + 1", None),
    ],
)
def test_largest_right_part_is_accepted(todo: str, shown: str, taken: tuple[str, str] | None) -> None:
    assert right_part(shown, writing(todo)) == taken


def test_parts_smaller_than_the_minimum_are_not_accepted() -> None:
    """Single words often match by chance."""
    simulated = writing("a = 1\nb = 2")
    assert right_part("a = 1\nb = 3", simulated, "line") == ("line", "a = 1")
    assert right_part("a = 1\nb = 3", simulated, "whole") is None
    assert right_part("a = 1", simulated, "whole") == ("whole", "a = 1")
    assert right_part("return 2", writing("return 1"), "line") is None


def test_closed_brackets_are_not_accepted_twice() -> None:
    simulated = typed(writing("f(value)"), 2)
    assert simulated.typist.closed == ")"
    assert right_part("value)", simulated) == ("word", "value")
    assert right_part("value", simulated) == ("whole", "value")
    assert right_part("g(x)", typed(writing("f(g(x))"), 2)) == ("whole", "g(x)")


def test_accepting_costs_one_key() -> None:
    simulated = typed(writing("f(value)\n"), 2)
    simulated.take("value")
    assert (simulated.keys, simulated.typist.before, simulated.typist.after) == (3, "f(value", ")\nend\n")
    typed(simulated, 1)
    assert (simulated.keys, simulated.typist.before, simulated.typist.closed) == (4, "f(value)", "")


def test_new_line_matches_after_the_editors_indentation() -> None:
    """The line is indented deeper than the editor's guess, or begins at the margin."""
    deeper = typed(writing("\n    value", before="x = \\"), 1)
    assert deeper.typist.before == "x = \\\n"
    assert right_part("    value", deeper) == ("whole", "    value")
    deeper.take("    value")
    assert (deeper.done, deeper.keys) == (True, 2)
    back = typed(writing("\nvalue", before="if x:\n    y"), 1)
    assert back.typist.before.endswith("\n    ")
    assert right_part("value", back) is None
    assert right_part("value", typed(back, 1)) == ("whole", "value")


def test_random_text_is_long_enough_and_ends_with_a_line() -> None:
    text = "import os\n\n    abcdef = 1\nghi = 2\nx\n"
    places = [random_text_to_type(text, 12, Random(seed)) for seed in range(20)]
    assert {(p.before, p.todo, p.rest) for p in places if p} == {
        ("import os\n\n    ", "abcdef = 1\nghi = 2", "\nx\n"),
    }
    assert random_text_to_type(text, 40, Random(0)) is None
