"""Parse source code with tree-sitter and find its blocks. Without a grammar, blocks follow the indentation.

Offsets into text count characters. Torch-free.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache

from tree_sitter import Language, Node, Parser, Query, QueryCursor, Tree

_GRAMMARS = {
    "bash": ("tree_sitter_bash", "language"),
    "c": ("tree_sitter_cpp", "language"),  # headers do not say if they are C or C++; this grammar reads both
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
"""CPU time limit of a parse: five times what a prefix window of code takes. Adversarial text can take far longer."""
_READ_BYTES = 1 << 14

Span = tuple[int, int]
"""Start and end offset, in characters."""


class _ThreadParsers(threading.local):
    """The parsers of one thread by language, and the buffer they read from. A parser handles one text at a time."""

    def __init__(self) -> None:
        self.by_language: dict[str, Parser] = {}
        self.buffer = bytearray()


_parsers = _ThreadParsers()


def parser(language: str) -> Parser | None:
    """Return the calling thread's parser for ``language``, or None if no grammar is installed for it."""
    loaded = grammar(language)
    if loaded is None:
        return None
    if language not in _parsers.by_language:
        _parsers.by_language[language] = Parser(loaded)
    return _parsers.by_language[language]


@cache
def grammar(language: str) -> Language | None:
    """Return the tree-sitter grammar of ``language``, or None if none is installed."""
    known = _GRAMMARS.get(language)
    if known is None:
        return None
    module, function = known
    return Language(getattr(importlib.import_module(module), function)())


def parse(language: str, data: bytes, seconds: float = PARSE_SECONDS) -> Tree | None:
    """Parse UTF-8 text. Return None if there is no grammar or the parse takes longer than ``seconds`` of CPU time.

    The nodes have no ``text``. tree-sitter (0.26.1, ``parser_read_wrapper``) leaks every object that its read callback
    returns, so the callback refills and returns one buffer.
    """
    reader, buffer = parser(language), _parsers.buffer
    if reader is None:
        return None
    deadline = time.thread_time() + seconds

    def read(offset: int, _: object) -> bytearray:
        buffer[:] = data[offset : offset + _READ_BYTES]
        return buffer

    def cancel(_: int, __: bool) -> bool:
        return time.thread_time() > deadline

    try:
        return reader.parse(read, encoding="utf8", progress_callback=cancel)
    except ValueError:  # the binding's only sign of a cancelled parse
        reader.reset()
        return None


def captures(language: str, query: str, root: Node, capture: str, max_depth: int | None = None) -> list[Node]:
    """Return the nodes that ``query`` captures as ``capture`` in the tree of ``root``, in the order of the text.

    The grammar of ``language`` must be installed. ``max_depth`` limits the depth of the matched nodes below ``root``.
    Syntax: https://tree-sitter.github.io/tree-sitter/using-parsers/queries.
    """
    cursor = QueryCursor(_compiled(language, query))
    if max_depth is not None:
        cursor.set_max_start_depth(max_depth)
    return sorted(cursor.captures(root).get(capture, []), key=lambda node: (node.start_byte, -node.end_byte))


@cache
def _compiled(language: str, query: str) -> Query:
    loaded = grammar(language)
    assert loaded is not None
    return Query(loaded, query)


def blocks(language: str, text: str, lines: range = range(1, 13)) -> list[Span]:
    """Return blocks of code that fill whole lines and have a number of lines in ``lines``, in order.

    A block is a statement, a definition or the whole content of a body. It starts after the indentation of its first
    line and ends before the end of its last line.
    """
    spans = _syntax_blocks(language, text)
    if spans is None:
        spans = set(_indented_blocks(text))
    trimmed = {(begin, begin + len(text[begin:end].rstrip())) for begin, end in spans}
    return sorted(span for span in trimmed if _fills_its_lines(text, span) and _line_count(text, span) in lines)


def _syntax_blocks(language: str, text: str) -> set[Span] | None:
    """Return None if there is no grammar or the text has a syntax error."""
    reader = parser(language)
    if reader is None:
        return None
    data = text.encode()
    root = reader.parse(data).root_node
    if root.has_error:
        return None
    spans = set(_block_nodes(root))
    return spans if len(data) == len(text) else {_in_characters(data, span) for span in spans}


def _block_nodes(root: Node) -> Iterator[Span]:
    """Yield every statement or definition of several lines, and the content of every body, in bytes."""
    stack = [root]
    while stack:
        node = stack.pop()
        children = [child for child in node.named_children if child.type != "comment"]
        stack += children
        if node is not root and node.start_point[0] != node.end_point[0]:
            yield node.start_byte, node.end_byte
        if len(children) > 1 and children[0].start_point[0] != node.start_point[0]:
            yield children[0].start_byte, children[-1].end_byte


def _indented_blocks(text: str) -> Iterator[Span]:
    """Yield runs of lines that are indented deeper than the line before them."""
    lines = text.splitlines(keepends=True)
    starts, offset = [], 0
    for line in lines:
        starts.append(offset)
        offset += len(line)
    for first in range(1, len(lines)):
        last = _last_deeper(lines, first)
        if last is not None:
            begin = starts[first] + _indent(lines[first])
            yield begin, starts[last] + len(lines[last].rstrip())


def _last_deeper(lines: Sequence[str], first: int) -> int | None:
    """Return the last line of the run that starts at ``first`` and is deeper than the line above it, if any."""
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


def _in_characters(data: bytes, span: Span) -> Span:
    begin = len(data[: span[0]].decode(errors="replace"))
    return begin, begin + len(data[span[0] : span[1]].decode(errors="replace"))


def _fills_its_lines(text: str, span: Span) -> bool:
    begin, end = span
    line_start = text.rfind("\n", 0, begin) + 1
    line_end = text.find("\n", end)
    after = text[end : line_end if line_end >= 0 else len(text)]
    return begin < end and not text[line_start:begin].strip() and not after.strip()


def _line_count(text: str, span: Span) -> int:
    return text.count("\n", *span) + 1
