"""Pieces of a file that may be shown elsewhere: what it defines and imports, by its grammar, and its lines in portions.

Pure; knows neither disk nor ranking.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tree_sitter import Node

from inference.text.syntax import parse

LINES = 24
"""The longest piece."""
SECONDS = 0.05
_LARGEST = 100_000
"""Characters of a file that are read by its grammar."""
_DEFINES = re.compile(r"(?:definition|declaration|_item|_spec|_declarator)$")
_DEEPEST = 6
_IMPORTS = re.compile(r"^(?:import_|preproc_include$|use_declaration$|using_directive$|namespace_use_declaration$)")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some lines of a file. ``defines`` is the name they define, if that is what they are."""

    path: str
    text: str
    defines: str = ""


def definitions(language: str, path: str, text: str, most_lines: int = LINES) -> list[Piece]:
    """Functions, classes, methods and types, the head of each; none where no grammar is installed."""
    data = text[:_LARGEST].encode(errors="replace")
    tree = parse(language, data, SECONDS)
    if tree is None:
        return []
    return [
        Piece(path, "\n".join(_lines(data, node)[:most_lines]), name)
        for node, name in _defining(tree.root_node, data)
        if name and node.end_point.row > node.start_point.row
    ]


def import_lines(language: str, path: str, text: str) -> list[Piece]:
    """All that a document imports, as one piece; none where no grammar is installed, or nothing is imported."""
    data = text[:_LARGEST].encode(errors="replace")
    tree = parse(language, data, SECONDS)
    nodes = tree.root_node.named_children if tree else []
    lines = [line for node in nodes if _IMPORTS.match(node.type) for line in _lines(data, node)]
    return [Piece(path, "\n".join(lines))] if lines else []


def portions(path: str, text: str) -> list[Piece]:
    """The whole file, cut at empty lines where possible."""
    pieces: list[Piece] = []
    portion: list[str] = []
    for line in text.split("\n"):
        if portion and (len(portion) >= LINES or (not line.strip() and len(portion) >= LINES // 2)):
            pieces.append(_portion(path, portion))
            portion = []
        if portion or line.strip():
            portion.append(line)
    if portion:
        pieces.append(_portion(path, portion))
    return pieces


def _portion(path: str, lines: Sequence[str]) -> Piece:
    return Piece(path, "\n".join(lines).rstrip())


def _defining(root: Node, data: bytes) -> Iterator[tuple[Node, str]]:
    waiting = [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        if _DEFINES.search(node.type):
            yield node, _name(node, data)
        if depth < _DEEPEST:
            waiting += [(child, depth + 1) for child in reversed(node.named_children)]


def _name(node: Node, data: bytes) -> str:
    """Of C's declarators the innermost has the name."""
    while True:
        name = node.child_by_field_name("name")
        inner = name or node.child_by_field_name("declarator")
        if inner is None:
            return ""
        if name or not inner.named_children:
            return data[inner.start_byte : inner.end_byte].decode(errors="replace")
        node = inner


def _lines(data: bytes, node: Node) -> list[str]:
    """From the start of its first line, so that its indentation is seen."""
    start = data.rfind(b"\n", 0, node.start_byte) + 1
    return data[start : node.end_byte].decode(errors="replace").split("\n")
