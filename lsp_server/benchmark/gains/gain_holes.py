"""Holes in projects' files, in a fixed order, and which of them need a name that another file defines.

The same files and seed give the same holes in the same order, so that the first thousand are a fair sample of all.
Definitions and identifiers are found by grammar: words of strings and comments do not count.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tree_sitter import Node

from inference.text.holes import MAX_PER_FILE, Hole, HoleKind, sample_holes
from inference.text.snippets import definitions
from inference.text.source_files import SourceFile, read_sources
from inference.text.syntax import parse
from lsp_server.snapshot import Snapshot

SHARES: dict[HoleKind, int] = {"end": 2, "line": 2, "block": 1}
"""Holes of each kind, relatively. Blocks take longest to generate and are least often right."""
KINDS = tuple(SHARES)
MOST_ENDS, ENDS_PER_FILE = 16_000, 40
"""Ends of lines searched for names of other files, which few need."""
SHORTEST = 3
"""Shorter names occur in many files."""
SECONDS = 1.0
"""Time limit for parsing a file."""
_NAME = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class GainHole(Hole):
    """A hole in a file of ``project``; ``name`` is relative to it."""

    project: Path
    language: str

    @property
    def snapshot(self) -> Snapshot:
        """The document without the hole's text, with the cursor there."""
        return Snapshot(
            uri=(self.project / self.name).as_uri(),
            language=self.language,
            version=0,
            before=self.prefix,
            after=self.suffix,
            line_end="\n",
            line=self.prefix.count("\n"),
            encoding="utf-32",
        )


@dataclass(frozen=True, slots=True)
class FoundHoles:
    """Holes, and the source files of each project."""

    holes: list[GainHole]
    files: dict[Path, list[SourceFile]]


def find_holes(projects: Sequence[Path], count: int, seed: int) -> FoundHoles:
    """Take about ``count`` holes of all kinds, equally many from each project that has enough.

    Near-duplicate files are skipped. Raises FileNotFoundError.
    """
    files = {project.resolve(): read_sources([project]).files for project in projects}
    return FoundHoles(_ordered_holes(files, SHARES, count, seed, MAX_PER_FILE), files)


def more_ends(found: FoundHoles, seed: int) -> list[GainHole]:
    """Return up to ``MOST_ENDS`` ends of lines in the same files that are not among ``found``."""
    ends = _ordered_holes(found.files, {"end": 1}, MOST_ENDS, seed, ENDS_PER_FILE)
    known = set(found.holes)
    return [hole for hole in ends if hole not in known]


def _ordered_holes(
    files: Mapping[Path, Sequence[SourceFile]], shares: Mapping[HoleKind, int], count: int, seed: int, per_file: int
) -> list[GainHole]:
    """Shuffle the files of all projects; sort the holes of each by line, so that the engine can reuse its KV cache."""
    parts = len(files) * sum(shares.values())
    by_file: dict[tuple[Path, str], list[GainHole]] = defaultdict(list)
    for project, some in files.items():
        languages = {file.name: file.language for file in some}
        for kind, share in shares.items():
            for hole in _sample(some, kind, -(-count * share // parts), seed, per_file):
                by_file[project, hole.name].append(_in_project(hole, project, languages[hole.name]))
    order = sorted(by_file)
    Random(f"{seed}/order").shuffle(order)
    return [hole for key in order for hole in sorted(by_file[key], key=lambda hole: len(hole.prefix))]


def _in_project(hole: Hole, project: Path, language: str) -> GainHole:
    return GainHole(hole.name, hole.kind, hole.prefix, hole.middle, hole.suffix, project, language)


def _sample(files: Sequence[SourceFile], kind: HoleKind, count: int, seed: int, per_file: int) -> list[Hole]:
    """Sample holes with text before them, as ``eval`` does: at the start of a file there is nothing to continue."""
    return [hole for hole in sample_holes(files, kind, 2 * count, seed, per_file) if hole.prefix.strip()][:count]


@dataclass(frozen=True, slots=True)
class DefinedNames:
    """The names that each file of one project defines."""

    by_file: dict[str, frozenset[str]]

    def in_other_files(self, hole: GainHole, window: str) -> set[str]:
        """Return names in the hole that only another file defines and that ``window`` does not contain."""
        others = (names for file, names in self.by_file.items() if file != hole.name)
        wanted = {name for name in _NAME.findall(hole.middle) if len(name) >= SHORTEST}
        wanted &= set().union(*others) - self.by_file.get(hole.name, frozenset())
        wanted -= set(_NAME.findall(window))
        return wanted & _identifiers(hole) if wanted else wanted


def defined_names(files: Iterable[SourceFile]) -> DefinedNames:
    """Collect the names that files define; a file without a grammar defines none."""
    return DefinedNames({file.name: _defines(file) for file in files})


def _defines(file: SourceFile) -> frozenset[str]:
    return frozenset(snippet.defines for snippet in definitions(file.language, file.name, file.text))


def _identifiers(hole: GainHole) -> set[str]:
    """Return the identifiers that begin in the hole, parsed in the whole document."""
    before, middle = hole.prefix.encode(), hole.middle.encode()
    data = before + middle + hole.suffix.encode()
    tree = parse(hole.language, data, SECONDS)
    if tree is None:
        return set()
    return {
        data[node.start_byte : node.end_byte].decode(errors="replace")
        for node in _leaves(tree.root_node, len(before), len(before) + len(middle))
        if node.type.endswith("identifier")
    }


def _leaves(root: Node, start: int, end: int) -> Iterator[Node]:
    """Yield the leaves that begin in the byte range from ``start`` to ``end``."""
    stack = [root]
    while stack:
        node = stack.pop()
        if node.end_byte > start and node.start_byte < end:
            stack += node.children
            if not node.children and node.start_byte >= start:
                yield node
