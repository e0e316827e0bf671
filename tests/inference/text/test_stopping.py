"""Where a completion ends, judged on text that grows as a model writes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.text.stopping import Stopper, StopRule, indent_width


def written(text: str, rule: StopRule | None = None, suffix: str = "", stops: tuple[str, ...] = (), step: int = 3):
    """What is shown of ``text`` when it comes in pieces, and why it ended (None: the model ended it)."""
    stopper = Stopper(rule or StopRule(), suffix, stops)
    shown = ""
    for at in range(0, len(text), step):
        shown += stopper.feed(text[at : at + step])
        if stopper.cause:
            return shown, stopper.cause
    return shown + stopper.finish(), stopper.cause


LINE = StopRule("line")


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    ("text", "rule", "suffix", "shown", "cause"),
    [
        ("a + b\nreturn", LINE, "", "a + b", "rule"),
        ("a + b", LINE, "", "a + b", None),
        ("\nreturn", LINE, "", "", "rule"),
        # a block ends before the first line that is indented less
        ("\n    x = 1\n    y = 2\nz = 3\n", StopRule("block", 4), "", "\n    x = 1\n    y = 2", "rule"),
        ("x = 1\n    if x:\n        y = 2\nz", StopRule("block", 4), "", "x = 1\n    if x:\n        y = 2", "rule"),
        ("x = 1\n\n    y = 2\n\n\n    z = 3\n", StopRule("block", 4), "", "x = 1\n\n    y = 2", "rule"),
        ("x = 1\n\ty = 2\nz", StopRule("block", 4), "", "x = 1\n\ty = 2", "rule"),
        ("x = 1\n    y", StopRule("block", 4), "", "x = 1\n    y", None),
        # at the margin, where nothing is a dedent, a blank line ends what it says
        ("f() {\n\n  a;\n}\n\ng() {\n", StopRule("block", 0), "", "f() {\n\n  a;\n}", "rule"),
        ("x = 1\ny = 2\n\nz = 3\n", StopRule("block", 0), "", "x = 1\ny = 2", "rule"),
        # its closer belongs to it
        ("\n    f();\n}\nint g", StopRule("block", 1, "}"), "", "\n    f();\n}", "rule"),
        ("\n    f();\n} else {\n", StopRule("block", 1, "}"), "", "\n    f();\n} else {", "rule"),
        ("\n    f();\n}\nint g", StopRule("block", 1), "", "\n    f();", "rule"),
        # the rest of the line is not said twice
        ("a, b)\n", LINE, ")\n", "a, b", "suffix"),
        ("f(a), b)\n", LINE, ")\n", "f(a), b", "suffix"),
        ("a, b) -> int:\n", LINE, "):\n", "a, b", "suffix"),
        ("(a, b)) + 1", LINE, ")\n", "(a, b)", "suffix"),
        ("a = b", LINE, " = b", "a ", "suffix"),
        # nor the line below
        ("x = 1\n    return x\nmore", StopRule("block", 0), "\n    return x\n", "x = 1", "suffix"),
        ("x = 1\n    return x", StopRule("block", 0), "\n\n    return x\n", "x = 1", None),
        ("x = 1\n    return x + 1\ny\n", StopRule("block", 0), "\n    return x\n", "x = 1\n    return x + 1\ny", None),
    ],
)
def test_completion_ends_where_it_should(text, rule, suffix, shown, cause, step):
    """However the text is cut into tokens, the same is shown."""
    got, why = written(text, rule, suffix, step=step)
    assert got.rstrip("\n") == shown
    assert why == cause


@pytest.mark.parametrize("step", [1, 2, 5])
def test_stop_strings_end_the_text_and_are_not_shown(step):
    assert written("abcENDdef", stops=("END",), step=step) == ("abc", "stop")


def test_beginning_of_a_stop_string_is_shown_once_it_cannot_become_one():
    assert written("abcENx", stops=("END",)) == ("abcENx", None)
    assert written("abcEN", stops=("END",)) == ("abcEN", None)


@given(st.text(alphabet="ab(){}\n \t", max_size=60), st.text(alphabet="ab)}\n ", max_size=12), st.integers(1, 9))
def test_how_the_text_is_cut_into_tokens_never_matters(text, suffix, step):
    """Held-back text must be neither lost nor shown too early."""
    rule = StopRule("block", 2, "}")
    assert written(text, rule, suffix, step=step) == written(text, rule, suffix, step=1)


@given(st.text(alphabet="ab(){}\n \t", max_size=60), st.text(alphabet="ab)}\n ", max_size=12))
def test_what_is_shown_is_how_the_text_begins(text, suffix):
    for rule in (LINE, StopRule("block", 2, "}"), StopRule()):
        shown, _ = written(text, rule, suffix)
        assert text.startswith(shown)


def test_tabs_reach_to_the_next_column_of_four():
    assert [indent_width(line) for line in ("x", "  x", "\tx", "  \tx", "\t\tx")] == [0, 2, 4, 4, 8]
