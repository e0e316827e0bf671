"""Which places need another file: what is missing there uses a name that only another file of the project defines.

Names are those of the definitions that ``text.excerpts`` finds by grammar; what is missing uses identifiers, again by
grammar, and not the words of strings and comments. Pure; knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tree_sitter import Node

from inference.text.excerpts import definitions
from inference.text.source import SourceFile
from inference.text.syntax import parse
from lsp_server.measure.gains.places import Place

SHORTEST = 3
"""Shorter names say little about where they come from."""
SECONDS = 1.0
_NAME = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class Defined:
    """Of one project: the names that each file defines."""

    by_file: dict[str, frozenset[str]]

    def elsewhere(self, place: Place, window: str) -> set[str]:
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


def _identifiers(place: Place) -> set[str]:
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
