"""Pieces of a file that may be shown elsewhere: what it defines and imports, by its grammar, and its lines in portions.

Pure; knows neither disk nor ranking.

Which pieces speak of what stands around the cursor: BM25 over the words of code. Pure; knows not where they lie.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), section 3.2.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tree_sitter import Node

from inference.text.prompts import Snippet
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
class SourceSnippet:
    """Some lines of a file. ``defines`` is the name they define, if that is what they are."""

    path: str
    text: str
    defines: str = ""


def definitions(language: str, path: str, text: str, most_lines: int = LINES) -> list[SourceSnippet]:
    """Functions, classes, methods and types, the head of each; none where no grammar is installed."""
    data = text[:_LARGEST].encode(errors="replace")
    tree = parse(language, data, SECONDS)
    if tree is None:
        return []
    return [
        SourceSnippet(path, "\n".join(_lines(data, node)[:most_lines]), name)
        for node, name in _defining(tree.root_node, data)
        if name and node.end_point.row > node.start_point.row
    ]


def import_lines(language: str, path: str, text: str) -> list[SourceSnippet]:
    """All that a document imports, as one piece; none where no grammar is installed, or nothing is imported."""
    data = text[:_LARGEST].encode(errors="replace")
    tree = parse(language, data, SECONDS)
    nodes = tree.root_node.named_children if tree else []
    lines = [line for node in nodes if _IMPORTS.match(node.type) for line in _lines(data, node)]
    return [SourceSnippet(path, "\n".join(lines))] if lines else []


def portions(path: str, text: str) -> list[SourceSnippet]:
    """The whole file, cut at empty lines where possible."""
    pieces: list[SourceSnippet] = []
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


def _portion(path: str, lines: Sequence[str]) -> SourceSnippet:
    return SourceSnippet(path, "\n".join(lines).rstrip())


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


K1, B = 1.2, 0.75
MOST_CHUNKS = 8
QUERY_LINES = 20
"""Lines before the cursor that say what is wanted."""
SAME = 0.6
"""Of a piece's telling lines, as many in the window or in a better piece make it superfluous."""
DEFINED_HERE = 2.0
"""A definition of a name that is used at the cursor counts this many times."""
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\da-zA-Z_]+")


def words(text: str) -> list[str]:
    """Identifiers and, of those made of several words, each of these too; in lower case."""
    found: list[str] = []
    for match in _IDENTIFIER.finditer(text):
        name = match.group()
        parts = _PART.findall(name)
        found += [name.lower(), *(part.lower() for part in parts if len(parts) > 1 and len(part) > 2)]
    return found


def bm25(query: Sequence[str], documents: Sequence[Sequence[str]]) -> list[float]:
    """A score for each document; how often a word stands in the query does not count."""
    counts = [Counter(document) for document in documents]
    mean = sum(map(len, documents)) / max(len(documents), 1) or 1.0
    wanted = set(query)
    scores = [0.0] * len(documents)
    for word in sorted(wanted):
        having = sum(word in count for count in counts)
        weight = math.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
        for n, count in enumerate(counts):
            if times := count[word]:
                norm = K1 * (1 - B + B * len(documents[n]) / mean)
                scores[n] += weight * times * (K1 + 1) / (times + norm)
    return scores


def choose(before: str, right: str, window: str, pieces: Sequence[SourceSnippet], limit: int) -> tuple[Snippet, ...]:
    """The pieces that speak most of what stands before the cursor, and say something new; the best first.

    ``before`` is the text before the cursor, ``right`` the rest of its line, ``window`` what is shown anyway. At most
    ``limit`` characters in ``MOST_CHUNKS`` chunks.
    """
    query = words("\n".join(before.split("\n")[-QUERY_LINES:]) + "\n" + right)
    scores = bm25(query, [words(piece.text) for piece in pieces])
    used = set(query)
    weighed = [s * (DEFINED_HERE if p.defines.lower() in used else 1.0) for s, p in zip(scores, pieces, strict=True)]
    order = sorted(range(len(pieces)), key=lambda n: -weighed[n])
    return fitting([pieces[n] for n in order if weighed[n] > 0], window, limit)


def fitting(pieces: Sequence[SourceSnippet], window: str, limit: int) -> tuple[Snippet, ...]:
    """Of the pieces in their order those that there is room for, and that say something new."""
    shown, chosen = _telling(window), list[Snippet]()
    for piece in pieces:
        lines = _telling(piece.text)
        if len(chosen) == MOST_CHUNKS:
            break
        if len(piece.text) <= limit and len(lines & shown) < SAME * len(lines):
            chosen.append(Snippet(piece.path, piece.text))
            limit -= len(piece.text)
            shown |= lines
    return tuple(chosen)


def _telling(text: str) -> set[str]:
    return {line.strip() for line in text.split("\n") if len(line.strip()) >= 8}
