"""Markdown: the fenced code blocks of an answer, and the export of a conversation.

Fences follow CommonMark 0.31, section 4.5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lsp_server.chat.conversation import ChatTurn, Conversation

_OPENING = re.compile(r"(?P<indent> {0,3})(?P<fence>`{3,}(?=[^`]*$)|~{3,})\s*(?P<language>[^\s`{]*)")
_ENDS = {"length": "*The answer was cut off at the maximum length.*", "cancelled": "*Stopped.*"}


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A fenced code block.

    Attributes:
        language: first word of the info string, in lower case; empty for none.
        code: the lines between the fences, each ending in LF.
        start: zero-based line of the opening fence in the answer.
        stop: line of the closing fence; the number of lines if there is none.
        closed: False if there is no closing fence because the answer was cut off.
    """

    language: str
    code: str
    start: int
    stop: int
    closed: bool


def code_blocks(markdown: str) -> list[CodeBlock]:
    """Return the blocks in order. Blocks inside lists and quotations are not recognised."""
    lines = markdown.split("\n")
    blocks: list[CodeBlock] = []
    at = 0
    while at < len(lines):
        opening = _OPENING.match(lines[at])
        if opening:
            blocks.append(_block(lines, at, opening))
            at = blocks[-1].stop
        at += 1
    return blocks


def _block(lines: list[str], start: int, opening: re.Match[str]) -> CodeBlock:
    fence, indent = opening["fence"], len(opening["indent"])
    closing = re.compile(rf" {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*$")
    stop = next((n for n in range(start + 1, len(lines)) if closing.match(lines[n])), len(lines))
    code = "".join(f"{_dedented(line, indent)}\n" for line in lines[start + 1 : stop])
    return CodeBlock(opening["language"].lower(), code, start, stop, stop < len(lines))


def _dedented(line: str, indent: int) -> str:
    """Remove the opening fence's indentation, as far as the line has it."""
    return line[min(indent, len(line) - len(line.lstrip(" "))) :]


def to_markdown(conversation: Conversation, model: str) -> str:
    """Export questions and answers under headings. Attachments are listed by title only: files stay private."""
    parts = [f"# {conversation.title or 'A conversation'}"]
    for turn in conversation.turns:
        parts += ["## You", turn.question.strip(), *_titles(turn), f"## {model or 'Code Llama'}", *_answer(turn)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _titles(turn: ChatTurn) -> list[str]:
    return ["\n".join(f"- with {one.title}" for one in turn.attached)] if turn.attached else []


def _answer(turn: ChatTurn) -> list[str]:
    """Close a block that was cut off; otherwise everything after it would be code."""
    text, blocks = turn.answer.strip(), code_blocks(turn.answer.strip())
    if blocks and not blocks[-1].closed:
        opening = text.split("\n")[blocks[-1].start].strip()
        mark = opening[0]
        text += "\n" + mark * (len(opening) - len(opening.lstrip(mark)))
    return [text, _ENDS.get(turn.end, "")]
