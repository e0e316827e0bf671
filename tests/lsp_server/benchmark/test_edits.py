"""The exact recorded edits: their size, and the lines that change or stay."""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import islice

from inference.text.source_files import SourceFile
from lsp_server.benchmark.workload import BLOCK, FEWEST, MOST, Edit, make_edits

LONG = SourceFile("long.py", "python", "".join(f"value_{n} = other(total_{n // 4}, {n})\n" for n in range(400)))
SHORT = SourceFile("short.py", "python", "x = 1\n" * (FEWEST - 1))
PLAIN = SourceFile("plain.py", "python", "".join(f"a{n} = {n}\n" for n in range(FEWEST)))


def edits(count: int, *files: SourceFile, seed: int = 0) -> list[Edit]:
    return list(islice(make_edits(files, seed), count))


def changed(edit: Edit) -> int:
    """Return the number of added, removed or replaced lines; a replaced line counts once."""
    before, after = edit.before.splitlines(), edit.after.splitlines()
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return sum(max(i2 - i1, j2 - j1) for kind, i1, i2, j1, j2 in blocks if kind != "equal")


def test_edit_has_60_to_200_whole_lines():
    found = edits(50, LONG)
    assert all(edit.before in LONG.text and FEWEST <= edit.lines <= MOST for edit in found)
    assert len({edit.lines for edit in found}) > 10


def test_shorter_edits_can_be_requested():
    assert {edit.lines for edit in islice(make_edits([LONG], 0, FEWEST), 5)} == {FEWEST}


def test_each_block_loses_or_gains_one_line():
    """Up to eight lines also have a renamed word."""
    for edit in edits(50, LONG):
        blocks = -(-edit.lines // BLOCK)
        assert blocks <= changed(edit) <= blocks + 8


def test_one_word_is_renamed_everywhere():
    """The text has exactly the minimum number of lines, and one word to rename."""
    text = "".join(f"item{n} = {'price' if n % 20 == 0 else 'none'}({n})\n" for n in range(FEWEST))
    (edit,) = edits(1, SourceFile("a.py", "python", text), seed=1)
    assert "price" in edit.before
    assert edit.after.count("price_of_price") * 2 == edit.after.count("price") >= 4


def test_lines_change_even_without_a_word_to_rename():
    (edit,) = edits(1, PLAIN)
    assert (edit.before, edit.lines - edit.after.count("\n")) == (PLAIN.text, FEWEST // BLOCK)


def test_files_alternate_and_short_ones_are_skipped():
    assert ["value_" in edit.before for edit in edits(4, LONG, SHORT, PLAIN)] == [True, False, True, False]
    assert edits(4, SHORT) == []


def test_same_seed_same_edits():
    assert edits(4, LONG, seed=7) == edits(4, LONG, seed=7) != edits(4, LONG, seed=8)
