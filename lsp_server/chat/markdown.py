"""The fenced code blocks of an answer, so that an editor can insert or apply one. Pure; knows no Markdown beyond.

Source: CommonMark 0.31, section 4.5.

A conversation as a Markdown document. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lsp_server.chat.conversation import ChatTurn, Conversation

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


_ENDS = {"length": "*The answer was broken off: it had reached its greatest length.*", "cancelled": "*Stopped.*"}


def to_markdown(conversation: Conversation, model: str) -> str:
    """Questions and answers under headings. Of what went along only the names: the files are the person's own."""
    parts = [f"# {conversation.title or 'A conversation'}"]
    for turn in conversation.turns:
        parts += ["## You", turn.asked.strip(), *_attached(turn), f"## {model or 'Code Llama'}", *_answer(turn)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _attached(turn: ChatTurn) -> list[str]:
    return ["\n".join(f"- with {piece.title}" for piece in turn.attached)] if turn.attached else []


def _answer(turn: ChatTurn) -> list[str]:
    """A block that was broken off is closed, or all that follows would be code."""
    text, blocks = turn.answer.strip(), code_blocks(turn.answer.strip())
    if blocks and not blocks[-1].closed:
        opening = text.split("\n")[blocks[-1].start].strip()
        mark = opening[0]
        text += "\n" + mark * (len(opening) - len(opening.lstrip(mark)))
    return [text, _ENDS.get(turn.end, "")]
