"""Choice of holes: the same ones in each run, grouped by file."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from lsp_server.benchmark.gains.gain_holes import find_holes, more_ends


def code(name: str) -> str:
    return "".join(
        f"def {name}_{n}(value):\n    if value > {n}:\n        return value + {n}\n    return {name}_{n}(value)\n\n\n"
        for n in range(6)
    )


@pytest.fixture
def projects(tmp_path: Path) -> list[Path]:
    for project in ("one", "two"):
        (tmp_path / project).mkdir()
        for file in ("alpha", "beta", "gamma"):
            (tmp_path / project / f"{file}.py").write_text(code(f"{project}_{file}"))
    return [tmp_path / "one", tmp_path / "two"]


def test_same_seed_gives_the_same_holes_and_another_gives_others(projects):
    first, again, other = (find_holes(projects, 40, seed).holes for seed in (1, 1, 2))
    assert first == again != other
    counts = Counter((hole.project.name, hole.kind) for hole in first)
    each = {"end": 8, "line": 8, "block": 4}
    assert counts == {(project, kind): each[kind] for project in ("one", "two") for kind in each}


def test_hole_is_its_file_without_the_missing_text(projects):
    for hole in find_holes(projects, 40, 0).holes:
        whole = (hole.project / hole.name).read_text()
        assert hole.snapshot.before + hole.middle + hole.snapshot.after == whole
        assert (hole.snapshot.uri, hole.snapshot.language) == ((hole.project / hole.name).as_uri(), "python")
        assert hole.snapshot.line == hole.snapshot.before.count("\n")


def test_holes_are_ordered_within_files_and_files_are_shuffled(projects):
    """A prefix that begins as the one before need not be read again; and the first of many are a sample of all."""
    holes = find_holes(projects, 40, 0).holes
    runs = [(file, list(some)) for file, some in groupby(holes, lambda hole: (hole.project.name, hole.name))]
    assert len(runs) == 6
    assert [file for file, _ in runs] != sorted(file for file, _ in runs)
    for _, some in runs:
        lengths = [len(hole.snapshot.before) for hole in some]
        assert lengths == sorted(lengths)


def test_near_duplicate_files_have_no_holes(projects):
    (projects[0] / "copy.py").write_text(code("one_alpha").replace("one_alpha_5", "changed"))
    assert {hole.name for hole in find_holes(projects, 40, 0).holes} == {"alpha.py", "beta.py", "gamma.py"}


def test_missing_folder_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file or folder"):
        find_holes([tmp_path / "none"], 9, 0)


def test_additional_ends_exclude_the_holes(projects):
    """Few line ends need a name from another file, so many are examined to find some."""
    found = find_holes(projects, 40, 0)
    ends = more_ends(found, 0)
    assert {hole.kind for hole in ends} == {"end"}
    assert not set(ends) & set(found.holes)
    assert len(ends) == len(set(ends)) > 5 * sum(hole.kind == "end" for hole in found.holes)
