"""Where completions are asked for: holes in a project's files, each as the editor would show it, in a fixed order.

Pure but for reading the files; knows no model. The same files and the same seed give the same places in the same order,
so that the first thousand are a fair sample of all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from inference.text.holes import PER_FILE, Hole, Kind, sample_holes
from inference.text.source import SourceFile, read_sources
from lsp_server.snapshot import Snapshot

SHARES: dict[Kind, int] = {"end": 2, "line": 2, "block": 1}
"""How many of each kind. Blocks take the most time to write, and are least often right."""
KINDS = tuple(SHARES)
MOST_ENDS, ENDS_PER_FILE = 16_000, 40
"""Ends of lines among which those are looked for that need another file's name: few do."""


@dataclass(frozen=True, slots=True)
class Place:
    """One hole. ``snapshot`` is the document without what stood there, ``middle``."""

    project: Path
    name: str
    kind: Kind
    snapshot: Snapshot
    middle: str


@dataclass(frozen=True, slots=True)
class Found:
    """Places, and the files of each project they lie in."""

    places: list[Place]
    files: dict[Path, list[SourceFile]]


def find_places(projects: Sequence[Path], count: int, seed: int) -> Found:
    """About ``count`` places of all kinds, as many in each project, or as it has. Raises FileNotFoundError.

    Files that are nearly copies of others are left out.
    """
    files = {project.resolve(): read_sources([project]).files for project in projects}
    return Found(_places(files, SHARES, count, seed, PER_FILE), files)


def more_ends(found: Found, seed: int) -> list[Place]:
    """Very many ends of lines in the same files; none of them was found already."""
    ends = _places(found.files, {"end": 1}, MOST_ENDS, seed, ENDS_PER_FILE)
    known = set(found.places)
    return [place for place in ends if place not in known]


def _places(
    files: Mapping[Path, Sequence[SourceFile]], shares: Mapping[Kind, int], count: int, seed: int, per_file: int
) -> list[Place]:
    """Those of one file follow each other, in the order of their lines, so that the engine need not read a beginning
    twice; files come by chance, of all projects at once.
    """
    parts = len(files) * sum(shares.values())
    by_file: dict[tuple[Path, str], list[Place]] = defaultdict(list)
    for project, some in files.items():
        languages = {file.name: file.language for file in some}
        for kind, share in shares.items():
            for hole in _holes(some, kind, -(-count * share // parts), seed, per_file):
                by_file[project, hole.name].append(_place(project, hole, languages[hole.name]))
    order = sorted(by_file)
    Random(f"{seed}/order").shuffle(order)
    return [place for key in order for place in sorted(by_file[key], key=lambda one: len(one.snapshot.before))]


def _holes(files: Sequence[SourceFile], kind: Kind, count: int, seed: int, per_file: int) -> list[Hole]:
    """Those with something before them, as in ``eval``: there is nothing to continue at a file's very start."""
    return [hole for hole in sample_holes(files, kind, 2 * count, seed, per_file) if hole.prefix.strip()][:count]


def _place(project: Path, hole: Hole, language: str) -> Place:
    snapshot = Snapshot(
        uri=(project / hole.name).as_uri(),
        language=language,
        version=0,
        before=hole.prefix,
        after=hole.suffix,
        line_end="\n",
        line=hole.prefix.count("\n"),
        encoding="utf-32",
    )
    return Place(project, hole.name, hole.kind, snapshot, hole.middle)
