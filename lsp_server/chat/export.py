"""A conversation as a Markdown document. Pure."""

from __future__ import annotations

from lsp_server.chat.blocks import code_blocks
from lsp_server.chat.conversation import Conversation, Turn

_ENDS = {"length": "*The answer was broken off: it had reached its greatest length.*", "cancelled": "*Stopped.*"}


def to_markdown(conversation: Conversation, model: str) -> str:
    """Questions and answers under headings. Of what went along only the names: the files are the person's own."""
    parts = [f"# {conversation.title or 'A conversation'}"]
    for turn in conversation.turns:
        parts += ["## You", turn.asked.strip(), *_attached(turn), f"## {model or 'Code Llama'}", *_answer(turn)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _attached(turn: Turn) -> list[str]:
    return ["\n".join(f"- with {piece.title}" for piece in turn.attached)] if turn.attached else []


def _answer(turn: Turn) -> list[str]:
    """A block that was broken off is closed, or all that follows would be code."""
    text, blocks = turn.answer.strip(), code_blocks(turn.answer.strip())
    if blocks and not blocks[-1].closed:
        opening = text.split("\n")[blocks[-1].start].strip()
        mark = opening[0]
        text += "\n" + mark * (len(opening) - len(opening.lstrip(mark)))
    return [text, _ENDS.get(turn.end, "")]
