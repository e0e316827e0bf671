"""Holes: the rest of a line, a whole line, a block, a random span."""

from __future__ import annotations

import pytest

from inference.text.holes import HOLE_KINDS, HoleKind, sample_holes
from inference.text.source_files import SourceFile

TEXT = '''import os


def area(width, height):
    """The area."""
    if width < 0:
        raise ValueError("width")
    size = width * height
    return size
'''
FILES = [SourceFile(f"f{n}.py", "python", TEXT.replace("area", f"area_{n}")) for n in range(40)]


@pytest.mark.parametrize("kind", HOLE_KINDS)
def test_prefix_middle_and_suffix_are_the_file(kind: HoleKind) -> None:
    texts = {file.name: file.text for file in FILES}
    holes = sample_holes(FILES, kind, 60, seed=1)
    assert len(holes) == 60
    assert all(hole.prefix + hole.middle + hole.suffix == texts[hole.name] and hole.middle for hole in holes)


def test_end_hole_starts_inside_its_line_and_ends_with_it() -> None:
    for hole in sample_holes(FILES, "end", 60, seed=2):
        assert hole.prefix.rpartition("\n")[2].strip()
        assert "\n" not in hole.middle
        assert hole.suffix.startswith("\n")


def test_line_hole_starts_after_the_indentation() -> None:
    for hole in sample_holes(FILES, "line", 60, seed=3):
        assert not hole.prefix.rpartition("\n")[2].strip()
        assert hole.middle == hole.middle.strip()
        assert "\n" not in hole.middle
        assert hole.suffix.startswith("\n")


def test_block_hole_is_a_syntactic_block() -> None:
    found = {hole.middle for hole in sample_holes(FILES, "block", 60, seed=4)}
    assert 'if width < 0:\n        raise ValueError("width")' in found
    assert all(not middle.startswith(" ") for middle in found)


def test_holes_depend_on_the_seed_not_the_file_order() -> None:
    once = sample_holes(FILES, "line", 30, seed=5)
    assert sample_holes(FILES[::-1], "line", 30, seed=5) == once
    assert sample_holes(FILES, "line", 30, seed=6) != once


def test_holes_per_file_are_limited() -> None:
    assert len(sample_holes(FILES[:1], "line", 30, seed=7)) <= 3


def test_holes_have_lf_line_endings() -> None:
    dos = SourceFile("dos.py", "python", TEXT.replace("\n", "\r\n"))
    assert all("\r" not in hole.prefix + hole.middle + hole.suffix for hole in sample_holes([dos], "end", 3, seed=8))
