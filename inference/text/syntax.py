"""Blocks of code by syntax: what tree-sitter's grammars know, and indentation where there is no grammar.

Torch-free. Knows no files and no prompts; offsets count characters.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache

from tree_sitter import Language, Node, Parser, Tree

_GRAMMARS = {
    "bash": ("tree_sitter_bash", "language"),
    "c": ("tree_sitter_cpp", "language"),  # a header says by nothing whether it is C or C++; this grammar reads both
    "cpp": ("tree_sitter_cpp", "language"),
    "csharp": ("tree_sitter_c_sharp", "language"),
    "go": ("tree_sitter_go", "language"),
    "java": ("tree_sitter_java", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "javascriptreact": ("tree_sitter_javascript", "language"),
    "php": ("tree_sitter_php", "language_php"),
    "python": ("tree_sitter_python", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "typescriptreact": ("tree_sitter_typescript", "language_tsx"),
}

PARSE_SECONDS = 0.03
"""Of the processor's time: five times what a window of code takes. Text that no person wrote may take far more."""
_SLICE = 1 << 14

Span = tuple[int, int]
"""Start and end of a piece of text, in characters."""


class _Parsers(threading.local):
    """Of one thread, by language: a parser reads one text at a time. ``slice`` is what it reads of that."""

    def __init__(self) -> None:
        self.known: dict[str, Parser] = {}
        self.slice = bytearray()


_parsers = _Parsers()


def parser(language: str) -> Parser | None:
    """The calling thread's parser of a language, or None where no grammar is installed for it."""
    grammar = _grammar(language)
    if grammar is None:
        return None
    if language not in _parsers.known:
        _parsers.known[language] = Parser(grammar)
    return _parsers.known[language]


@cache
def _grammar(language: str) -> Language | None:
    known = _GRAMMARS.get(language)
    if known is None:
        return None
    module, function = known
    return Language(getattr(importlib.import_module(module), function)())


def parse(language: str, data: bytes, seconds: float = PARSE_SECONDS) -> Tree | None:
    """The tree of a text in UTF-8; None where there is no grammar, or the parse took longer than ``seconds``.

    Its nodes have no ``text``. tree-sitter (0.26.1, ``parser_read_wrapper``) keeps for ever every object that it reads
    a text from piece by piece, so it is given the same one each time, filled anew.
    """
    reader, piece = parser(language), _parsers.slice
    if reader is None:
        return None
    until = time.thread_time() + seconds

    def read(at: int, _: object) -> bytearray:
        piece[:] = data[at : at + _SLICE]
        return piece

    def late(_: int, __: bool) -> bool:
        return time.thread_time() > until

    try:
        return reader.parse(read, encoding="utf8", progress_callback=late)
    except ValueError:  # all that a parse which was broken off says
        reader.reset()
        return None


def blocks(language: str, text: str, lines: range = range(1, 13)) -> list[Span]:
    """Pieces of code that stand on whole lines of their own, as long as ``lines`` allows, in order.

    A piece is a statement, a definition or all that a body holds. It begins after its first line's indentation and ends
    before its last line's end.
    """
    spans = _by_grammar(language, text)
    if spans is None:
        spans = set(_indented(text))
    trimmed = {(begin, begin + len(text[begin:end].rstrip())) for begin, end in spans}
    return sorted(span for span in trimmed if _on_own_lines(text, span) and _height(text, span) in lines)


def _by_grammar(language: str, text: str) -> set[Span] | None:
    """None where there is no grammar, or the text does not parse by it."""
    reader = parser(language)
    if reader is None:
        return None
    data = text.encode()
    root = reader.parse(data).root_node
    if root.has_error:
        return None
    spans = set(_nodes(root))
    return spans if len(data) == len(text) else {_characters(data, span) for span in spans}


def _nodes(root: Node) -> Iterator[Span]:
    """Every statement or definition, and the whole content of every body, in bytes."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        children = [child for child in node.named_children if child.type != "comment"]
        waiting += children
        if node is not root and node.start_point[0] != node.end_point[0]:
            yield node.start_byte, node.end_byte
        if len(children) > 1 and children[0].start_point[0] != node.start_point[0]:
            yield children[0].start_byte, children[-1].end_byte


def _indented(text: str) -> Iterator[Span]:
    """Runs of lines that are indented deeper than the line before them."""
    lines = text.splitlines(keepends=True)
    starts, position = [], 0
    for line in lines:
        starts.append(position)
        position += len(line)
    for first in range(1, len(lines)):
        last = _last_deeper(lines, first)
        if last is not None:
            begin = starts[first] + _indent(lines[first])
            yield begin, starts[last] + len(lines[last].rstrip())


def _last_deeper(lines: Sequence[str], first: int) -> int | None:
    """The last line of the run that begins at ``first`` and is deeper than the line above it, if one does."""
    above = _indent(lines[first - 1])
    if not lines[first - 1].strip() or not lines[first].strip() or _indent(lines[first]) <= above:
        return None
    last = first
    for number in range(first, len(lines)):
        if lines[number].strip():
            if _indent(lines[number]) <= above:
                break
            last = number
    return last


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _characters(data: bytes, span: Span) -> Span:
    begin = len(data[: span[0]].decode(errors="replace"))
    return begin, begin + len(data[span[0] : span[1]].decode(errors="replace"))


def _on_own_lines(text: str, span: Span) -> bool:
    begin, end = span
    line_start = text.rfind("\n", 0, begin) + 1
    line_end = text.find("\n", end)
    after = text[end : line_end if line_end >= 0 else len(text)]
    return begin < end and not text[line_start:begin].strip() and not after.strip()


def _height(text: str, span: Span) -> int:
    return text.count("\n", *span) + 1
