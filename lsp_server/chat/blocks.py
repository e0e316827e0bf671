"""The fenced code blocks of an answer, so that an editor can insert or apply one. Pure; knows no Markdown beyond.

Source: CommonMark 0.31, section 4.5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_OPENING = re.compile(r"(?P<indent> {0,3})(?P<fence>`{3,}(?=[^`]*$)|~{3,})\s*(?P<language>[^\s`{]*)")


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """One block.

    Attributes:
        language: the first word after the fence, in lower case; empty for none.
        code: the lines in between, each ended by LF.
        start: the line of the answer, zero-based, on which the opening fence stands.
        stop: that of the closing fence, or the number of lines where there is none.
        closed: whether it has one; else the answer was broken off.
    """

    language: str
    code: str
    start: int
    stop: int
    closed: bool


def code_blocks(markdown: str) -> list[CodeBlock]:
    """In order. A block within a list or a quotation is not seen."""
    lines = markdown.split("\n")
    found: list[CodeBlock] = []
    at = 0
    while at < len(lines):
        opening = _OPENING.match(lines[at])
        if opening:
            found.append(_block(lines, at, opening))
            at = found[-1].stop
        at += 1
    return found


def _block(lines: list[str], start: int, opening: re.Match[str]) -> CodeBlock:
    fence, indent = opening["fence"], len(opening["indent"])
    closing = re.compile(rf" {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*$")
    stop = next((n for n in range(start + 1, len(lines)) if closing.match(lines[n])), len(lines))
    code = "".join(f"{_dedented(line, indent)}\n" for line in lines[start + 1 : stop])
    return CodeBlock(opening["language"].lower(), code, start, stop, stop < len(lines))


def _dedented(line: str, indent: int) -> str:
    """As much of the opening fence's indentation as the line has is no part of the code."""
    return line[min(indent, len(line) - len(line.lstrip(" "))) :]
