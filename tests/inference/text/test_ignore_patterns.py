"""Ignore patterns: verdicts equal pathspec's and git's, and matching takes bounded time."""

from __future__ import annotations

import random
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec
from support.hostile_repository import BAD_LINES, git

from inference.text import ignore_rules
from inference.text.ignore_rules import MAX_LENGTH, MAX_PATTERNS, Patterns, TooCostlyError, exclusion_reason

HANG = 10
"""Seconds; pathspec's own expressions would take years."""

piece = st.sampled_from(["a", "b", "*", "?", "/", "**", "/**/", "[ab]", "a*b"])
PIECES = ["a", "b", "*", "?", "/", "**", "/**/", "[ab]", "[!a]", "!", "\\a", "a*x", "\\[", "[]a]"]
line = st.lists(piece, min_size=1, max_size=8).map("".join)
names = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=5).map("/".join)


@settings(max_examples=500, deadline=None)
@given(st.lists(line, min_size=1, max_size=3), names)
def test_verdicts_equal_those_of_pathspec(lines, path):
    lines = [line for line in lines if not Patterns.parse([line]).bad]
    assert Patterns.parse(lines).verdict(path) == GitIgnoreSpec.from_lines(lines).check_file(path).include


def test_files_that_git_ignores_are_ignored(tmp_path):
    """Random patterns from a seeded generator."""
    rng, paths = random.Random(5), []
    git(tmp_path, "init", "-q")
    for n in range(300):
        (tmp_path / f"{n}").mkdir()
        lines = ["".join(rng.choices(PIECES, k=rng.randint(1, 6))) for _ in range(rng.randint(1, 3))]
        (tmp_path / f"{n}" / ".gitignore").write_text("\n".join(lines))
        for _ in range(8):
            parts = ["".join(rng.choices("abx[]\n", k=rng.randint(1, 3))) for _ in range(rng.randint(1, 4))]
            paths.append("/".join([f"{n}", *parts]))
    command = ["git", "-C", str(tmp_path), "check-ignore", "--no-index", "-z", "--stdin"]
    output = subprocess.run(command, input="\0".join(paths), capture_output=True, text=True).stdout
    ignored = output.split("\0")[:-1]
    assert len(ignored) > 300
    assert [name for name in ignored if exclusion_reason(tmp_path / name, tmp_path) != "ignored"] == []


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("a*a*a*a*a*a*a*a*a*a*a*b", "a" * 255),
        ("a*" * 500 + "b", "a" * 2 * MAX_LENGTH),
        ("**/a/" * 200 + "b", "a/" * 1_000 + "c"),
        ("**/*a" * 200 + "b", "/".join(["a" * 255] * 8)),
        ("**/a/*" * 140 + "/b", "/".join("a" * 1_000)),
        ("*" + "?" * 1_000 + "b", "a" * 2 * MAX_LENGTH),
        ("[a-z]*" * 150 + "0", "a" * 2 * MAX_LENGTH),
        ("[!b-z]?*" * 120 + "0", "a" * 2 * MAX_LENGTH),
    ],
)
def test_no_pattern_takes_long_to_match(pattern, path):
    began = time.thread_time()
    assert Patterns.parse([pattern]).verdict(path) is None
    assert time.thread_time() - began < HANG


def test_invalid_lines_are_skipped_and_listed():
    found = Patterns.parse([*BAD_LINES.split("\n"), "x" * (MAX_LENGTH + 1), "hidden.py"])
    assert found.verdict("hidden.py") is True and found.verdict("a.py") is None
    bad = [number for number, _ in found.bad]
    assert bad == sorted(bad) and {1, 2, 3} <= set(bad) and BAD_LINES.count("\n") + 2 in bad


@settings(max_examples=500, deadline=None)
@given(st.text(st.sampled_from("!\\[]^-*?/# az\n\r\x0c\x00é"), max_size=12))
def test_no_line_raises(line):
    Patterns.parse([line]).verdict("a/z")


def test_names_with_line_breaks_are_matched():
    found = Patterns.parse(["*.sql", "/made/"])
    assert [found.verdict(path) for path in ("a\nb/x.sql", "x\n.sql", "x.sql\n", "made/\n")] == [True, True, None, True]


def test_too_many_patterns_raise():
    Patterns.parse(["a"] * MAX_PATTERNS)
    with pytest.raises(TooCostlyError, match="too many"):
        Patterns.parse(["a"] * (MAX_PATTERNS + 1))


def test_comments_and_blank_lines_do_not_count():
    assert Patterns.parse(["# a", ""] * MAX_PATTERNS + ["b"]).verdict("b") is True


def test_parsing_has_a_time_limit(monkeypatch):
    monkeypatch.setattr(ignore_rules, "PARSE_SECONDS", -1.0)
    with pytest.raises(TooCostlyError, match="too many"):
        Patterns.parse(["a"])


def test_costly_patterns_are_not_tried_again(monkeypatch):
    found = Patterns.parse(["a"] * 100)
    with monkeypatch.context() as patched:
        patched.setattr(ignore_rules, "MATCH_SECONDS", -1.0)
        with pytest.raises(TooCostlyError, match="too long"):
            found.verdict("b")
    with pytest.raises(TooCostlyError, match="too long"):
        found.verdict("b")


def test_deadline_does_not_mark_patterns_as_costly():
    found = Patterns.parse(["a"] * 100)
    with pytest.raises(TooCostlyError, match="too long"):
        found.verdict("b", until=-1.0)
    assert found.verdict("b") is None


def test_too_long_path_raises():
    with pytest.raises(TooCostlyError, match="too long"):
        Patterns.parse(["a"]).verdict("b" * (2 * MAX_LENGTH + 1))
