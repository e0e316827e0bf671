"""From what a person wrote to a turn: the task's prompt, what is mentioned, as much of it as there is room for.

Knows neither LSP nor the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from lsp_server.chat.attachments import Attachment, LeftOut, fit, written
from lsp_server.chat.conversation import Turn
from lsp_server.chat.gathering import Desk, RefusedMention, changes, code, gather, in_thread, problems
from lsp_server.chat.mentions import TASKS, mentions, task
from lsp_server.prompts.load import messages_for

Warn = Callable[[str], None]


@dataclass
class Pieces:
    """What goes along, by the field of the prompt that it fills; the first fields are the most important."""

    code: list[Attachment] = field(default_factory=list)
    problems: list[Attachment] = field(default_factory=list)
    diff: list[Attachment] = field(default_factory=list)
    context: list[Attachment] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def fitted(self, limit: int) -> tuple[dict[str, str], list[Attachment]]:
        """The fields with what there is room for, and that."""
        parts = {name: getattr(self, name) for name in ("code", "problems", "diff", "context")}
        kept, lost = fit(list(chain(*parts.values())), limit)
        self.left_out += lost
        titles = {name: {piece.title for piece in part} for name, part in parts.items()}
        return {name: written([one for one in kept if one.title in of]) for name, of in titles.items()}, kept


@dataclass(frozen=True, slots=True)
class Composed:
    """A turn that can be put to a model, and what is not in it. ``system`` is for a conversation that begins."""

    turn: Turn
    system: str
    left_out: Sequence[LeftOut]


async def compose(text: str, desk: Desk, limit: int, warn: Warn) -> Composed:
    """The next turn, with at most ``limit`` characters of files. Raises RefusedMention."""
    word, question = task(text)
    pieces = await _pieces(word, question, desk)
    fields, kept = pieces.fitted(limit)
    if not question.strip() and not kept:
        raise RefusedMention(f"/{word}: open a document, or mention one." if word else "The message is empty.")
    fields["question"] = question.strip()
    sent = messages_for(TASKS[word] if word else "chat", fields, warn)[-1]["content"]
    return Composed(Turn(text, sent, attached=tuple(kept)), _system(fields, warn), pieces.left_out)


def _system(fields: Mapping[str, str], warn: Warn) -> str:
    """One for all turns: the beginning of a conversation that changes must be read anew."""
    first = messages_for("chat", fields, warn)[0]
    return first["content"] if first["role"] == "system" else ""


async def _pieces(word: str, question: str, desk: Desk) -> Pieces:
    found = Pieces()
    if word == "commit":
        found.diff, found.left_out = await changes(desk, staged=True)
    elif word and desk.current is not None:
        found.code = [await in_thread(lambda: code(desk, whole=True))]
        found.problems = [await in_thread(lambda: problems(desk))] if word == "fix" and desk.diagnostics else []
    for mention in mentions(question):
        pieces, left_out = await gather(mention, desk)
        found.left_out += left_out
        known = {piece.title for piece in (*found.code, *found.problems, *found.diff, *found.context)}
        found.context += [piece for piece in pieces if piece.title not in known]
    return found
