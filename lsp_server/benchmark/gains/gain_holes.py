"""Where completions are asked for: holes in a project's files, each as the editor would show it, in a fixed order.

Pure but for reading the files; knows no model. The same files and the same seed give the same places in the same order,
so that the first thousand are a fair sample of all.

Which places need another file: what is missing there uses a name that only another file of the project defines.

Names are those of the definitions that ``text.excerpts`` finds by grammar; what is missing uses identifiers, again by
grammar, and not the words of strings and comments. Pure; knows no model.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tree_sitter import Node

from inference.text.holes import PER_FILE, Hole, Kind, sample_holes
from inference.text.snippets import definitions
from inference.text.source_files import SourceFile, read_sources
from inference.text.syntax import parse
from lsp_server.snapshot import Snapshot

SHARES: dict[Kind, int] = {"end": 2, "line": 2, "block": 1}
"""How many of each kind. Blocks take the most time to write, and are least often right."""
KINDS = tuple(SHARES)
MOST_ENDS, ENDS_PER_FILE = 16_000, 40
"""Ends of lines among which those are looked for that need another file's name: few do."""


@dataclass(frozen=True, slots=True)
class GainHole:
    """One hole. ``snapshot`` is the document without what stood there, ``middle``."""

    project: Path
    name: str
    kind: Kind
    snapshot: Snapshot
    middle: str


@dataclass(frozen=True, slots=True)
class FoundHoles:
    """Places, and the files of each project they lie in."""

    places: list[GainHole]
    files: dict[Path, list[SourceFile]]


def find_holes(projects: Sequence[Path], count: int, seed: int) -> FoundHoles:
    """About ``count`` places of all kinds, as many in each project, or as it has. Raises FileNotFoundError.

    Files that are nearly copies of others are left out.
    """
    files = {project.resolve(): read_sources([project]).files for project in projects}
    return FoundHoles(_places(files, SHARES, count, seed, PER_FILE), files)


def more_ends(found: FoundHoles, seed: int) -> list[GainHole]:
    """Very many ends of lines in the same files; none of them was found already."""
    ends = _places(found.files, {"end": 1}, MOST_ENDS, seed, ENDS_PER_FILE)
    known = set(found.places)
    return [place for place in ends if place not in known]


def _places(
    files: Mapping[Path, Sequence[SourceFile]], shares: Mapping[Kind, int], count: int, seed: int, per_file: int
) -> list[GainHole]:
    """Those of one file follow each other, in the order of their lines, so that the engine need not read a beginning
    twice; files come by chance, of all projects at once.
    """
    parts = len(files) * sum(shares.values())
    by_file: dict[tuple[Path, str], list[GainHole]] = defaultdict(list)
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


def _place(project: Path, hole: Hole, language: str) -> GainHole:
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
    return GainHole(project, hole.name, hole.kind, snapshot, hole.middle)


SHORTEST = 3
"""Shorter names say little about where they come from."""
SECONDS = 1.0
_NAME = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class Defined:
    """Of one project: the names that each file defines."""

    by_file: dict[str, frozenset[str]]

    def elsewhere(self, place: GainHole, window: str) -> set[str]:
        """Names in what is missing that another file defines, and that are neither in the window nor defined here."""
        others = (names for file, names in self.by_file.items() if file != place.name)
        wanted = {name for name in _NAME.findall(place.middle) if len(name) >= SHORTEST}
        wanted &= set().union(*others) - self.by_file.get(place.name, frozenset())
        wanted -= set(_NAME.findall(window))
        return wanted & _identifiers(place) if wanted else wanted


def defined(files: Iterable[SourceFile]) -> Defined:
    """Read by grammar; a file without one defines nothing."""
    return Defined({file.name: _defines(file) for file in files})


def _defines(file: SourceFile) -> frozenset[str]:
    return frozenset(piece.defines for piece in definitions(file.language, file.name, file.text))


def _identifiers(place: GainHole) -> set[str]:
    """That begin in what is missing, read in the whole document."""
    before, middle = place.snapshot.before.encode(), place.middle.encode()
    data = before + middle + place.snapshot.after.encode()
    tree = parse(place.snapshot.language, data, SECONDS)
    if tree is None:
        return set()
    return {
        data[node.start_byte : node.end_byte].decode(errors="replace")
        for node in _leaves(tree.root_node, len(before), len(before) + len(middle))
        if node.type.endswith("identifier")
    }


def _leaves(root: Node, start: int, end: int) -> Iterator[Node]:
    """Of those that begin from ``start`` on and before ``end``, in bytes."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.end_byte > start and node.start_byte < end:
            waiting += node.children
            if not node.children and node.start_byte >= start:
                yield node
