"""What syntax a position stands in: code, a string or a comment, and which brackets are open there.

By tree-sitter's tokens, which stay right where the text so far is no valid program; where there is no grammar, by the
position's line alone. Torch-free; knows no editor and nothing that stands after the position.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from tree_sitter import Node, Tree

from inference.text.languages import comment_mark
from inference.text.stopping import OPENERS, indent_width
from inference.text.syntax import parse

WINDOW = 16_000
"""Characters before the position that are parsed, a few milliseconds' worth."""

HEAD = 1_000
"""Characters of a line before a bracket that are kept."""

_CLOSED_BY = {opener: closer for closer, opener in OPENERS.items()}
_INTERPOLATION = {"${": "}", "$(": ")", "#{": "}"}
_QUOTES = frozenset(['"', "'", "`", '"""', "string_start"])
_MANY_LINES = re.compile(rb'\w*(?:"""|\'\'\'|`)')
_QUOTES_SPAN_LINES = frozenset(["bash", "php", "rust"])
_TOP_LEVEL = re.compile(r"\n(?=[^\s)\]}])")
_TOKEN = re.compile(r"\w+|\S")
_BLANKS = re.compile(rb"[ \t]*")

Inside = Literal["code", "string", "comment"]


@dataclass(frozen=True, slots=True)
class Opened:
    """A bracket that is open at the position; ``indent`` is the width of the indentation of its statement.

    That is its line's or, where a bracket is closed on that line that was opened above, that line's: what ``) {`` ends
    began there. What opens an expression inside a string is one too, as it is written: ``${``, ``$(``,
    ``#{``, and ``{`` of Python.
    """

    bracket: str
    indent: int
    head: str = field(default="", compare=False)
    """What stands before it on its line."""
    in_string: bool = field(default=False, compare=False)
    """It opens an expression inside a string."""


@dataclass(frozen=True, slots=True)
class SyntaxPosition:
    """What the syntax is at a position.

    Attributes:
        inside: what it stands in.
        opened: brackets not closed before it, outermost first.
        whole: ``opened`` holds all of them, not just those of the position's line.
    """

    inside: Inside = "code"
    opened: tuple[Opened, ...] = ()
    whole: bool = False


@lru_cache(maxsize=8)
def position_at(language: str, before: str) -> SyntaxPosition:
    """Where the end of ``before`` stands."""
    text = window(language, before)
    data = text.encode(errors="replace")
    tree = parse(language, data)
    if tree is None:
        left = before[before.rfind("\n") + 1 :]
        return _by_line(language, left[-WINDOW:], indent_width(left))
    found = _Scan(language, data)
    found.read(tree)
    return SyntaxPosition(found.inside(tree), found.brackets(), whole=True)


def window(language: str, before: str, limit: int = WINDOW) -> str:
    """The end of ``before``, at most ``limit`` characters, from the start of something that stands at the margin."""
    text = before[-limit:]
    if len(before) > limit and (start := _TOP_LEVEL.search(text)):
        text = text[start.end() :]
    return text if language != "php" or "<?" in text else f"<?php\n{text}"


@dataclass
class _Token:
    """An opening bracket or quote; ``kind`` is the leaf's type."""

    kind: str
    text: bytes
    start: int


@dataclass
class _Scan:
    """Brackets and quotes that nothing closes, in the order they were opened."""

    language: str
    data: bytes
    opened: list[_Token] = field(default_factory=list)
    begun: dict[int, int] = field(default_factory=dict)
    """Of lines on which a bracket is closed that was opened above: where that line begins."""

    def read(self, tree: Tree) -> None:
        """Go through all tokens of a text."""
        for leaf in leaves(tree):
            if leaf.is_missing:
                continue
            kind = leaf.type
            if kind in _CLOSED_BY or kind in _INTERPOLATION:
                self._open(leaf)
            elif kind in OPENERS:
                self._close(kind, leaf.start_byte)
            elif kind == "string_end":
                self._end_string()
            elif kind in _QUOTES and not (leaf.parent and leaf.parent.type == "lifetime"):
                self._quote(leaf)

    def inside(self, tree: Tree) -> Inside:
        """What the text's end stands in."""
        if _in_comment(tree, self.data):
            return "comment"
        for n in range(len(self.opened) - 1, -1, -1):
            token = self.opened[n]
            if self._interpolates(n):
                return "code"
            if token.kind in _QUOTES and self._lasts(token):
                return "string"
        return "code"

    def brackets(self) -> tuple[Opened, ...]:
        """Those still open; none that were opened in a string which has no end."""
        kept: list[Opened] = []
        broken = -1
        expression = max((n for n in range(len(self.opened)) if self._interpolates(n)), default=-1)
        for n, token in enumerate(self.opened):
            if token.kind in _QUOTES:
                if n <= expression:
                    continue
                broken = len(self.data) if self._spans_lines(token) else self._line_end(token)
            elif token.start > broken:
                kept.append(self._opened(n))
        return tuple(kept)

    def _opened(self, n: int) -> Opened:
        token = self.opened[n]
        start = self._line_start(token.start)
        head = self.data[start : min(token.start, start + HEAD)].decode(errors="replace")
        indent = indent_width(self._line(self._statement(token.start)))
        return Opened(token.kind, indent, head, self._interpolates(n))

    def _open(self, leaf: Node) -> None:
        self.opened.append(_Token(leaf.type, self.data[leaf.start_byte : leaf.end_byte], leaf.start_byte))

    def _close(self, closer: str, at: int) -> None:
        """The innermost bracket it fits is closed, and with it what was left open inside."""
        for n in range(len(self.opened) - 1, -1, -1):
            kind, start = self.opened[n].kind, self.opened[n].start
            if (_CLOSED_BY.get(kind) or _INTERPOLATION.get(kind)) == closer:
                line, above = self._line_start(at), self._statement(start)
                if above < line:
                    self.begun[line] = above  # of several the last, which closes the outermost
                del self.opened[n:]
                return

    def _quote(self, leaf: Node) -> None:
        if self.opened and self.opened[-1].kind == leaf.type != "string_start":
            self.opened.pop()
        else:
            self._open(leaf)

    def _end_string(self) -> None:
        for n in range(len(self.opened) - 1, -1, -1):
            if self.opened[n].kind == "string_start":
                del self.opened[n:]
                return

    def _lasts(self, quote: _Token) -> bool:
        """Whether a string that begins there can reach to the end of the text."""
        return self._spans_lines(quote) or self._line_end(quote) == len(self.data)

    def _spans_lines(self, quote: _Token) -> bool:
        return self.language in _QUOTES_SPAN_LINES or _MANY_LINES.match(quote.text) is not None

    def _interpolates(self, n: int) -> bool:
        """Return whether the ``n``-th opens an expression inside a string."""
        kind = self.opened[n].kind
        return kind in _INTERPOLATION or (kind == "{" and self._formats(n))

    def _formats(self, n: int) -> bool:
        """Return whether an opening brace stands in a string that holds expressions."""
        outer = self.opened[n - 1] if n else None
        return outer is not None and outer.kind == "string_start" and b"f" in outer.text.lower()

    def _line_end(self, token: _Token) -> int:
        end = self.data.find(b"\n", token.start)
        return end if end >= 0 else len(self.data)

    def _statement(self, at: int) -> int:
        """Where the line begins on which what stands at ``at`` was begun."""
        start = self._line_start(at)
        return self.begun.get(start, start)

    def _line_start(self, at: int) -> int:
        return self.data.rfind(b"\n", 0, at) + 1

    def _line(self, start: int) -> str:
        """The line that begins there, up to its first character."""
        blanks = _BLANKS.match(self.data, start)
        return (blanks.group().decode() if blanks else "") + "x"


def leaves(tree: Tree) -> Iterator[Node]:
    """All tokens of a text, in order."""
    cursor = tree.walk()
    while True:
        if cursor.goto_first_child():
            continue
        if node := cursor.node:
            yield node
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return


def _in_comment(tree: Tree, data: bytes) -> bool:
    end = len(data)
    node = tree.root_node.descendant_for_byte_range(max(end - 1, 0), end)
    while node is not None:
        if "comment" in node.type:
            text = data[node.start_byte :]
            return not text.endswith(b"*/") if text.startswith(b"/*") else b"\n" not in text
        node = node.parent
    return _in_open_comment(tree, data)


def _in_open_comment(tree: Tree, data: bytes) -> bool:
    """A comment of many lines that has no end: grammars read it as operators."""
    start = data.rfind(b"/*")
    if start < 0 or data.find(b"*/", start + 2) >= 0:
        return False
    node = tree.root_node.descendant_for_byte_range(start, start + 1)
    return node is not None and node.type in ("/", "/*", "ERROR", "*", "binary_expression")


def _by_line(language: str, left: str, indent: int) -> SyntaxPosition:
    """Quotes, brackets and a comment's mark on the position's own line, of which ``left`` may be the end."""
    mark, quote, opened = comment_mark(language), "", []
    tokens = _TOKEN.finditer(left)
    for token in tokens:
        text = token.group()
        if quote:
            quote = "" if text == quote and left[token.start() - 1] != "\\" else quote
        elif mark and left.startswith(mark, token.start()):
            return SyntaxPosition("comment", tuple(opened))
        elif text in "\"'":
            quote = text
        elif text in _CLOSED_BY:
            opened.append(Opened(text, indent))
        elif text in OPENERS and opened and opened[-1].bracket == OPENERS[text]:
            opened.pop()
    return SyntaxPosition("string" if quote else "code", tuple(opened))
