"""Hunks rebased on a newer document: exactly, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp_server.edits import hunks as hunks_module
from lsp_server.edits.hunks import Hunk, apply_hunks, diff_runs, rebase_each, rebase_hunks, rebase_range, smallest_hunks

OLD = "import a\n\ndef f():\n    return 1\n\ndef g():\n    return 2\n"
CHANGE = smallest_hunks(OLD, 0, len(OLD), OLD.replace("return 1", "return 10"), "\n")


@pytest.mark.parametrize(
    ("now", "result"),
    [
        (OLD, "import a\n\ndef f():\n    return 10\n\ndef g():\n    return 2\n"),
        ("# new\n" + OLD, "# new\nimport a\n\ndef f():\n    return 10\n\ndef g():\n    return 2\n"),
        (OLD.replace("return 2", "return 3"), "import a\n\ndef f():\n    return 10\n\ndef g():\n    return 3\n"),
        (OLD.replace("import a\n", ""), "\ndef f():\n    return 10\n\ndef g():\n    return 2\n"),
    ],
)
def test_hunks_move_with_unchanged_lines(now, result):
    hunks = rebase_hunks(OLD, CHANGE, now)
    assert hunks is not None
    assert apply_hunks(now, hunks) == result


@pytest.mark.parametrize("now", [OLD.replace("return 1", "return x"), OLD.replace("    return 1\n", ""), ""])
def test_refused_if_a_touched_line_has_changed(now):
    assert rebase_hunks(OLD, CHANGE, now) is None


def test_insertion_refused_if_lines_were_inserted_there():
    """Its position among the new lines is ambiguous."""
    hunks = [Hunk(OLD.index("    return 1"), OLD.index("    return 1"), "    # doc\n")]
    assert rebase_hunks(OLD, hunks, OLD.replace("def f():\n", "def f():\n    x = 1\n")) is None
    assert rebase_hunks(OLD, hunks, "\n" + OLD) == [Hunk(hunks[0].start + 1, hunks[0].stop + 1, "    # doc\n")]


def test_append_refused_if_the_end_has_changed():
    hunks = [Hunk(len(OLD), len(OLD), "x = 1\n")]
    assert rebase_hunks(OLD, hunks, "# a\n" + OLD) == [Hunk(len(OLD) + 4, len(OLD) + 4, "x = 1\n")]
    assert rebase_hunks(OLD, hunks, OLD + "y = 2\n") is None


def test_range_moves_or_is_none():
    start, stop = OLD.index("def g"), OLD.index("    return 2") + len("    return 2")
    assert rebase_range(OLD, start, stop, "\n\n" + OLD) == (start + 2, stop + 2)
    assert rebase_range(OLD, start, stop, OLD.replace("return 2", "return 5")) is None


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_user_edits_and_model_edits_commute(data):
    """The user edits some of twelve distinct lines, the model others."""
    lines = [f"line {n}\n" for n in range(12)]
    mine, theirs = (
        data.draw(st.sets(st.integers(0, 11), max_size=4)),
        data.draw(st.sets(st.integers(0, 11), max_size=4)),
    )
    old = "".join(lines)
    now = "".join(line.replace("line", "typed") if n in mine else line for n, line in enumerate(lines))
    wanted = "".join(line.replace("line", "model") if n in theirs else line for n, line in enumerate(lines))
    hunks = rebase_hunks(old, smallest_hunks(old, 0, len(old), wanted, "\n"), now)
    if hunks is None:
        assert mine & theirs
        return
    names = {(False, False): "line", (True, False): "typed", (False, True): "model"}
    assert apply_hunks(now, hunks) == "".join(f"{names[n in mine, n in theirs]} {n}\n" for n in range(12))


def test_many_hunks_compare_the_texts_once(monkeypatch):
    """A document may be long, and an edit may have a hundred hunks."""
    old = "".join(f"line {n}\n" for n in range(50))
    hunks = smallest_hunks(old, 0, len(old), "".join(f"{'line' if n % 5 else 'model'} {n}\n" for n in range(50)), "\n")
    compared = []
    monkeypatch.setattr(hunks_module, "diff_runs", lambda a, b: compared.append(1) or diff_runs(a, b))
    now = "new\n" + old.replace("line 20\n", "typed\n")
    found = rebase_each(old, hunks, now)
    assert [n for n, one in enumerate(found) if one is None] == [4] and len(found) == 10
    assert found[0] == replace(hunks[0], start=hunks[0].start + 4, stop=hunks[0].stop + 4)
    assert rebase_hunks(old, hunks, now) is None and len(compared) == 2
