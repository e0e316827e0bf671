"""Stop rules on a text that grows token by token."""

from __future__ import annotations

import time

import pytest
from fakes.whole_text_stopper import WholeTextStopper
from hypothesis import example, given
from hypothesis import strategies as st

from inference.text.stopping import Stopper, StopRule, indent_width


def written(text: str, rule: StopRule | None = None, suffix: str = "", stops: tuple[str, ...] = (), step: int = 3):
    """Feed ``text`` in steps. Return the text to show and the cause of the stop (None: the model ended it)."""
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
        # at the margin there is no dedent, so a blank line ends the block
        ("f() {\n\n  a;\n}\n\ng() {\n", StopRule("block", 0), "", "f() {\n\n  a;\n}", "rule"),
        ("x = 1\ny = 2\n\nz = 3\n", StopRule("block", 0), "", "x = 1\ny = 2", "rule"),
        # the closer belongs to the block
        ("\n    f();\n}\nint g", StopRule("block", 1, "}"), "", "\n    f();\n}", "rule"),
        ("\n    f();\n} else {\n", StopRule("block", 1, "}"), "", "\n    f();\n} else {", "rule"),
        ("\n    f();\n}\nint g", StopRule("block", 1), "", "\n    f();", "rule"),
        # the rest of the line is not repeated
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
def test_completion_ends_at_the_right_position(text, rule, suffix, shown, cause, step):
    """The split into tokens does not matter."""
    got, why = written(text, rule, suffix, step=step)
    assert got.rstrip("\n") == shown
    assert why == cause


@pytest.mark.parametrize("step", [1, 2, 5])
def test_text_ends_before_a_stop_string(step):
    assert written("abcENDdef", stops=("END",), step=step) == ("abc", "stop")


def test_partial_stop_string_is_released_on_mismatch():
    assert written("abcENx", stops=("END",)) == ("abcENx", None)
    assert written("abcEN", stops=("END",)) == ("abcEN", None)


@given(st.text(alphabet="ab(){}\n \t", max_size=60), st.text(alphabet="ab)}\n ", max_size=12), st.integers(1, 9))
def test_split_into_tokens_does_not_matter(text, suffix, step):
    """Held-back text is neither lost nor shown too early."""
    rule = StopRule("block", 2, "}")
    assert written(text, rule, suffix, step=step) == written(text, rule, suffix, step=1)


@given(st.text(alphabet="ab(){}\n \t", max_size=60), st.text(alphabet="ab)}\n ", max_size=12))
def test_shown_text_is_a_prefix_of_the_generated_text(text, suffix):
    for rule in (LINE, StopRule("block", 2, "}"), StopRule()):
        shown, _ = written(text, rule, suffix)
        assert text.startswith(shown)


TEXT = st.text(alphabet="ab(){}\n \t", max_size=80)
RULES = st.sampled_from([LINE, StopRule(), StopRule("block", 2, "}"), StopRule("block", 0, "ab"), StopRule("block", 0)])


@given(st.lists(TEXT, max_size=12), RULES, TEXT, st.lists(st.text(alphabet="ab} \n", max_size=6), max_size=3))
@example(["a", "b} ", "b"], StopRule(), "b} b", [])
@example([" a", ")"], StopRule(), "\n a)\n", ["aab"])
@example(["x\n", "  ", "\n", "\n  y"], StopRule("block", 2, "}"), " ", [])
def test_incremental_rules_equal_rules_on_the_whole_text(parts, rule, suffix, stops):
    stopper, whole = Stopper(rule, suffix, stops), WholeTextStopper(rule, suffix, stops)
    for part in parts:
        assert (stopper.feed(part), stopper.cause) == (whole.feed(part), whole.cause)
        if whole.cause:
            break
    assert (stopper.finish(), stopper.trimmed) == (whole.finish(), whole.trimmed)


def seconds(token: str, tokens: int, *about) -> float:
    """Return the least CPU time of three runs over ``tokens`` tokens."""
    took = []
    for _ in range(3):
        stopper, began = Stopper(*about), time.process_time()
        for _ in range(tokens):
            stopper.feed(token)
        took.append(time.process_time() - began)
        assert stopper.cause is None
    return min(took)


@pytest.mark.parametrize(
    ("token", "about"),
    [
        ("x = 1;  ", (StopRule(), "", ("END", "\n\n\n"))),
        ("a" * 8, (StopRule(), "", ("a" * 100 + "b",))),
        ("    f(x)", (StopRule("block", 4, "}"), ")\n    y = 2\n", ())),
        ("        ", (StopRule("block", 4, "}"), "", ())),
        ("    y\n", (StopRule("block", 4, "}"), "\n    z\n", ())),
        ("aaaa", (StopRule(), "a" * 300_000 + "b\n", ())),
    ],
)
def test_cost_per_token_does_not_grow_with_the_text(token, about):
    """Linear cost gives a factor of 4; reading the whole text each time gives 16."""
    few, many = seconds(token, 4_000, *about), seconds(token, 16_000, *about)
    assert many < 8 * few


@pytest.mark.parametrize(
    "about", [lambda n: (StopRule(), "", ("a" * n + "b",)), lambda n: (StopRule(), "\n" + " \n" * n)]
)
def test_cost_per_token_does_not_grow_with_the_stops(about):
    """A long stop string or suffix is read once, not for every token."""
    short, long = seconds("aa", 500, *about(1_000)), seconds("aa", 500, *about(16_000))
    assert long < 4 * short + 0.01


def test_tab_extends_to_a_multiple_of_four_columns():
    assert [indent_width(line) for line in ("x", "  x", "\tx", "  \tx", "\t\tx")] == [0, 2, 4, 4, 8]
