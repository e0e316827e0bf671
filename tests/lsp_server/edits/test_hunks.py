"""Hunks give the rewrite, touch nothing else, and are small."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lsp_server.edits.hunks import DiffRun, Hunk, UnwritableError, apply_hunks, diff_runs, smallest_hunks
from lsp_server.snapshot import LINE_END, with_lf

LINES = [
    "",
    "    x = 1",
    "\treturn a, b",
    "def f(a, b=2):",
    "s = '😋 é'",
    "}",
    "x",
    "# \u2028 \f",
    "  ",
    "foo(bar(1), 2)",
]
ENDS = ["\n", "\r\n", "\r"]


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Documents with various lines; some mix line ends, some lack the last one."""
    end = draw(st.sampled_from(ENDS))
    ends = st.just(end) if draw(st.booleans()) else st.sampled_from(ENDS)
    lines = draw(st.lists(st.tuples(st.sampled_from(LINES), ends).map("".join), max_size=12))
    return "".join(lines) + draw(st.sampled_from(["", "x = 1", "    y"]))


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, int, int, str]:
    """A document, a range of whole lines, and a rewrite with lines changed, dropped, added or moved."""
    text = draw(documents())
    bounds = [0, *(end.end() for end in LINE_END.finditer(text)), len(text)]
    start, stop = sorted((draw(st.sampled_from(bounds)), draw(st.sampled_from(bounds))))
    lines = with_lf(text[start:stop]).split("\n")
    rng = random.Random(draw(st.integers(0, 2**32)))
    for _ in range(draw(st.integers(0, 4))):
        at = rng.randrange(len(lines) + 1)
        lines[at : at + rng.randrange(3)] = [_changed(rng, line) for line in rng.sample(LINES, rng.randrange(3))]
    return text, start, stop, "\n".join(lines)


def _changed(rng: random.Random, line: str) -> str:
    at = rng.randrange(len(line) + 1)
    return line[:at] + rng.choice(["", "a", "😋", "\t", "()"]) + line[at + rng.randrange(3) :]


@settings(max_examples=2_000, deadline=None)
@given(cases(), st.sampled_from(ENDS))
@example(("a\rb\n", 2, 3, ""), "\n")
@example(("a\r\nb\n\nc", 0, 8, "a\nX\n\nc"), "\r")
def test_hunks_give_the_rewrite_and_keep_all_other_bytes(case, line_end):
    text, start, stop, rewrite = case
    try:
        hunks = smallest_hunks(text, start, stop, rewrite, line_end)
    except UnwritableError:
        assert "\r" in text and "\n" in text  # a lone CR before a lone LF
        return
    now = apply_hunks(text, hunks)
    assert with_lf(now) == with_lf(text[:start]) + rewrite + with_lf(text[stop:])
    assert now.startswith(text[:start]) and now.endswith(text[stop:])
    assert all(start <= hunk.start <= hunk.stop <= stop for hunk in hunks)
    assert all(one.stop <= other.start for one, other in pairwise(hunks))
    assert all(text[hunk.start - 1 : hunk.start + 1] != "\r\n" for hunk in hunks)


@settings(max_examples=500, deadline=None)
@given(cases(), st.sampled_from(ENDS))
def test_single_kind_of_line_end_is_kept(case, line_end):
    text, start, stop, rewrite = case
    text, start, stop = (
        with_lf(text).replace("\n", line_end),
        len(with_lf(text[:start]).replace("\n", line_end)),
        len(with_lf(text[:stop]).replace("\n", line_end)),
    )
    now = apply_hunks(text, smallest_hunks(text, start, stop, rewrite, line_end))
    assert now == text[:start] + rewrite.replace("\n", line_end) + text[stop:]


@pytest.mark.parametrize(
    ("old", "new", "hunks"),
    [
        ("x = foo(a)\n", "x = foo(a, b)\n", [Hunk(9, 9, ", b")]),
        ("a\nb\nc\n", "a\nc\n", [Hunk(2, 4, "")]),
        ("a\nc\n", "a\nb\nc\n", [Hunk(2, 2, "b\n")]),
        ("total = 1\n", "result = 1\n", [Hunk(0, 5, "result")]),
        ("a\nb", "a\nb\nc", [Hunk(3, 3, "\nc")]),
        # far apart: two hunks; only punctuation between: one
        ("f(a)\nx\ng(a)\n", "f(b)\nx\ng(b)\n", [Hunk(2, 3, "b"), Hunk(9, 10, "b")]),
        ("f(a, b)\n", "f(c, d)\n", [Hunk(2, 6, "c, d")]),
        # little of the line stays: the whole line
        ("    return x\n", "    for y in range(10):\n", [Hunk(0, 13, "    for y in range(10):\n")]),
        ("same\n", "same\n", []),
        ("", "new\n", [Hunk(0, 0, "new\n")]),
        ("old\n", "", [Hunk(0, 4, "")]),
    ],
)
def test_hunks_are_minimal(old, new, hunks):
    assert smallest_hunks(old, 0, len(old), new, "\n") == hunks


def test_new_lines_get_the_line_end_of_the_document():
    text = "a\r\nb\nc\r\n"
    now = apply_hunks(text, smallest_hunks(text, 0, len(text), "a\nb\nx\nc\n", "\r\n"))
    assert now == "a\r\nb\nx\r\nc\r\n"


def test_change_that_joins_two_line_ends_is_refused():
    """Removing the line between a lone CR and a lone LF would make them one CR LF."""
    with pytest.raises(UnwritableError):
        smallest_hunks("a\rb\nc", 2, 3, "", "\n")


def test_ten_thousand_changed_lines_are_one_hunk():
    """Comparing them pair by pair would take minutes."""
    old = "".join(f"a{n}\n" for n in range(10_000))
    new = "".join(f"b{n}\n" for n in range(10_000))
    assert smallest_hunks(old, 0, len(old), new, "\n") == [Hunk(0, len(old), new)]


def test_only_slow_comparisons_are_replaced_by_one_run():
    """Pairs of equal lines determine the time of a comparison, not the length of the texts."""
    alike = diff_runs(["x", *["a"] * 600, "y"], ["z", *["a"] * 601, "w"])
    assert alike == [DiffRun(0, 602, 0, 603)]
    lines = [str(n) for n in range(1_900)]
    assert diff_runs(["x", *lines, "y"], ["z", *lines, "w"]) == [
        DiffRun(0, 1, 0, 1),
        DiffRun(1_901, 1_902, 1_901, 1_902),
    ]
