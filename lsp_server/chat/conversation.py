"""Conversations of one window, kept in memory alone: turns are appended, so that what the model has read stays read.

Pure; knows neither LSP nor the engine, which counts tokens and leaves out the oldest turns where there are too many.

From what a person wrote to a turn: the task's prompt, what is mentioned, as much of it as there is room for.

Knows neither LSP nor the engine.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from inference.text.prompts import Message
from lsp_server.chat.attachments import TASKS, Attachment, LeftOut, fit, mentions, task, written
from lsp_server.chat.chat_context import ChatContext, RefusedMention, changes, code, gather, in_thread, problems
from lsp_server.concurrency import cancel_once
from lsp_server.prompts.templates import messages_for

MOST_CHARACTERS = 2_000_000
"""Of a conversation, as it is sent; no model reads as much. Beyond it loses its older half."""

MOST_CONVERSATIONS = 100
"""In a window; beyond, the one not used for longest is forgotten."""

TITLE = 60


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """A question and its answer.

    Attributes:
        asked: what the person wrote.
        sent: the same as the model reads it, with what goes along.
        answer: so far.
        attached: what went along.
        end: how the answer ended: ``stop``, ``length`` or ``cancelled``.
        attempt: how often it was asked for anew.
        tokens: prompt and answer together, as the engine counted them; 0 where it did not.
    """

    asked: str
    sent: str
    answer: str = ""
    attached: tuple[Attachment, ...] = ()
    end: str = ""
    attempt: int = 0
    tokens: int = 0


@dataclass(eq=False)
class Conversation:
    """One of them. ``system`` stands before all turns and never changes; ``answering``: who does so at present."""

    system: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    turns: list[ChatTurn] = field(default_factory=list)
    answering: asyncio.Task[Any] | None = None

    @property
    def title(self) -> str:
        """How its first question begins."""
        first = " ".join(self.turns[0].asked.split()) if self.turns else ""
        return first if len(first) <= TITLE else f"{first[: TITLE - 1]}…"

    def messages(self, turn: ChatTurn) -> tuple[Message, ...]:
        """What the model reads to answer ``turn``, which is the next one or, asked for anew, the last one."""
        before = _recent(self.turns[:-1] if turn.attempt else self.turns)
        spoken = [Message(*pair) for old in before for pair in (("user", old.sent), ("assistant", old.answer))]
        system = [Message("system", self.system)] if self.system else []
        return (*system, *spoken, Message("user", turn.sent))

    def again(self) -> ChatTurn | None:
        """The last turn, to be answered anew; None before the first."""
        return replace(self.turns[-1], answer="", end="", attempt=self.turns[-1].attempt + 1) if self.turns else None

    def keep(self, turn: ChatTurn) -> None:
        """``turn`` has been answered, or broken off after some words."""
        if turn.attempt:
            self.turns.pop()
        self.turns.append(turn)


@dataclass
class Conversations:
    """Those of a window, the one used last at the end."""

    known: dict[str, Conversation] = field(default_factory=dict)

    def begin(self) -> Conversation:
        """A new one."""
        conversation = Conversation()
        self.known[conversation.id] = conversation
        idle = [one.id for one in self.known.values() if one.answering is None]
        for old in idle[: max(len(self.known) - MOST_CONVERSATIONS, 0)]:
            del self.known[old]
        return conversation

    def find(self, name: str) -> Conversation | None:
        """By its id; it counts as used."""
        conversation = self.known.pop(name, None)
        if conversation is not None:
            self.known[name] = conversation
        return conversation

    def drop(self, name: str) -> None:
        """Forget it, if there is one; an answer under way is stopped."""
        conversation = self.known.pop(name, None)
        if conversation is not None and conversation.answering is not None:
            cancel_once(conversation.answering)

    def stop(self) -> None:
        """Stop all answers, and forget everything."""
        for name in list(self.known):
            self.drop(name)


def _recent(turns: Sequence[ChatTurn]) -> Sequence[ChatTurn]:
    """All, or those that halving leaves: always the same ones until as many have been added."""
    sizes = [len(turn.sent) + len(turn.answer) for turn in turns]
    excess = sum(sizes) - MOST_CHARACTERS
    first, dropped = 0, -(-max(excess, 0) // (MOST_CHARACTERS // 2)) * (MOST_CHARACTERS // 2)
    while dropped > 0 and first < len(turns):
        dropped -= sizes[first]
        first += 1
    return turns[first:]


Warn = Callable[[str], None]


@dataclass
class ComposeInput:
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

    turn: ChatTurn
    system: str
    left_out: Sequence[LeftOut]


async def compose(text: str, desk: ChatContext, limit: int, warn: Warn) -> Composed:
    """The next turn, with at most ``limit`` characters of files. Raises RefusedMention."""
    word, question = task(text)
    pieces = await _pieces(word, question, desk)
    fields, kept = pieces.fitted(limit)
    if not question.strip() and not kept:
        raise RefusedMention(f"/{word}: open a document, or mention one." if word else "The message is empty.")
    fields["question"] = question.strip()
    sent = messages_for(TASKS[word] if word else "chat", fields, warn)[-1]["content"]
    return Composed(ChatTurn(text, sent, attached=tuple(kept)), _system(fields, warn), pieces.left_out)


def _system(fields: Mapping[str, str], warn: Warn) -> str:
    """One for all turns: the beginning of a conversation that changes must be read anew."""
    first = messages_for("chat", fields, warn)[0]
    return first["content"] if first["role"] == "system" else ""


async def _pieces(word: str, question: str, desk: ChatContext) -> ComposeInput:
    found = ComposeInput()
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
