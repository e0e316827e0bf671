"""Conversations of one editor session, kept in memory, and the composition of a new turn.

Turns are only appended, so the engine can reuse its KV cache for earlier turns. The engine counts tokens and drops the
oldest turns if there are too many.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from inference.text.prompts import Message
from lsp_server.chat.attachments import (
    TASKS,
    Attachment,
    LeftOut,
    attachments_text,
    fit_attachments,
    mentions,
    split_command,
)
from lsp_server.chat.chat_context import (
    AttachmentError,
    ChatContext,
    code_attachment,
    diff_attachments,
    gather_attachments,
    in_thread,
    problems_attachment,
)
from lsp_server.concurrency import cancel_once
from lsp_server.prompts.templates import messages_for

MOST_CHARACTERS = 2_000_000
"""Characters of a conversation that are sent; more than any model reads. Beyond it the older half is dropped."""

MOST_CONVERSATIONS = 100
"""Per editor session. Beyond it the least recently used idle one is dropped."""

TITLE = 60
"""Characters of a conversation's title."""

Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """A question and its answer.

    Attributes:
        question: the user's text.
        sent: the prompt made from it, attachments included.
        answer: the model's text so far.
        attached: the attachments.
        end: finish reason of the answer: ``stop``, ``length`` or ``cancelled``.
        attempt: how many times the answer was regenerated.
        tokens: prompt and answer together, as counted by the engine; 0 if it did not count.
    """

    question: str
    sent: str
    answer: str = ""
    attached: tuple[Attachment, ...] = ()
    end: str = ""
    attempt: int = 0
    tokens: int = 0


@dataclass(eq=False)
class Conversation:
    """A conversation.

    Attributes:
        system: the system message; it never changes.
        answering: the request that is generating an answer, if any.
    """

    system: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    turns: list[ChatTurn] = field(default_factory=list)
    answering: asyncio.Task[Any] | None = None

    @property
    def title(self) -> str:
        """The beginning of the first question."""
        first = " ".join(self.turns[0].question.split()) if self.turns else ""
        return first if len(first) <= TITLE else f"{first[: TITLE - 1]}…"

    def messages(self, turn: ChatTurn) -> tuple[Message, ...]:
        """Return the messages for ``turn``: the next one, or the last one if it is regenerated."""
        before = _recent(self.turns[:-1] if turn.attempt else self.turns)
        earlier = [Message(*pair) for old in before for pair in (("user", old.sent), ("assistant", old.answer))]
        system = [Message("system", self.system)] if self.system else []
        return (*system, *earlier, Message("user", turn.sent))

    def again(self) -> ChatTurn | None:
        """Return the last turn without its answer, to regenerate it; None if there is none."""
        return replace(self.turns[-1], answer="", end="", attempt=self.turns[-1].attempt + 1) if self.turns else None

    def keep(self, turn: ChatTurn) -> None:
        """Add a turn with its answer, complete or cancelled; a regenerated turn replaces the last one."""
        if turn.attempt:
            self.turns.pop()
        self.turns.append(turn)


@dataclass
class Conversations:
    """The conversations of an editor session, the most recently used last."""

    known: dict[str, Conversation] = field(default_factory=dict)

    def begin(self) -> Conversation:
        """Create a conversation."""
        conversation = Conversation()
        self.known[conversation.id] = conversation
        idle = [one.id for one in self.known.values() if one.answering is None]
        for old in idle[: max(len(self.known) - MOST_CONVERSATIONS, 0)]:
            del self.known[old]
        return conversation

    def find(self, name: str) -> Conversation | None:
        """Return a conversation by its id and mark it as used."""
        conversation = self.known.pop(name, None)
        if conversation is not None:
            self.known[name] = conversation
        return conversation

    def drop(self, name: str) -> None:
        """Remove a conversation, if it exists, and cancel its answer."""
        conversation = self.known.pop(name, None)
        if conversation is not None and conversation.answering is not None:
            cancel_once(conversation.answering)

    def stop(self) -> None:
        """Cancel all answers and remove all conversations."""
        for name in list(self.known):
            self.drop(name)


@dataclass
class ComposeInput:
    """Attachments by the prompt field they fill, the most important field first."""

    code: list[Attachment] = field(default_factory=list)
    problems: list[Attachment] = field(default_factory=list)
    diff: list[Attachment] = field(default_factory=list)
    context: list[Attachment] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def fit(self, limit: int) -> tuple[dict[str, str], list[Attachment]]:
        """Return the prompt fields within ``limit`` characters, and the attachments that were kept."""
        parts = {name: getattr(self, name) for name in ("code", "problems", "diff", "context")}
        kept, lost = fit_attachments(list(chain(*parts.values())), limit)
        self.left_out += lost
        titles = {name: {one.title for one in part} for name, part in parts.items()}
        return {name: attachments_text([one for one in kept if one.title in of]) for name, of in titles.items()}, kept


@dataclass(frozen=True, slots=True)
class Composed:
    """A turn ready to be sent. ``system`` is the system message for a new conversation."""

    turn: ChatTurn
    system: str
    left_out: Sequence[LeftOut]


async def compose(text: str, context: ChatContext, limit: int, warn: Warn) -> Composed:
    """Compose the next turn with at most ``limit`` characters of attachments. Raises AttachmentError."""
    command, question = split_command(text)
    attachments = await _gathered(command, question, context)
    fields, kept = attachments.fit(limit)
    if not question.strip() and not kept:
        raise AttachmentError(f"/{command}: open a document, or mention one." if command else "The message is empty.")
    fields["question"] = question.strip()
    sent = messages_for(TASKS[command] if command else "chat", fields, warn)[-1]["content"]
    return Composed(ChatTurn(text, sent, attached=tuple(kept)), _system(fields, warn), attachments.left_out)


def _system(fields: Mapping[str, str], warn: Warn) -> str:
    """Return the system message. It is the same for all turns, so the KV cache stays valid."""
    first = messages_for("chat", fields, warn)[0]
    return first["content"] if first["role"] == "system" else ""


async def _gathered(command: str, question: str, context: ChatContext) -> ComposeInput:
    result = ComposeInput()
    if command == "commit":
        result.diff, result.left_out = await diff_attachments(context, staged=True)
    elif command and context.current is not None:
        result.code = [await in_thread(lambda: code_attachment(context, whole=True))]
        fixing = command == "fix" and context.diagnostics
        result.problems = [await in_thread(lambda: problems_attachment(context))] if fixing else []
    for mention in mentions(question):
        attachments, left_out = await gather_attachments(mention, context)
        result.left_out += left_out
        known = {one.title for one in (*result.code, *result.problems, *result.diff, *result.context)}
        result.context += [one for one in attachments if one.title not in known]
    return result


def _recent(turns: Sequence[ChatTurn]) -> Sequence[ChatTurn]:
    """Return the turns to send.

    Above ``MOST_CHARACTERS`` whole halves are dropped at once, so the beginning stays the same for many turns.
    """
    sizes = [len(turn.sent) + len(turn.answer) for turn in turns]
    excess = sum(sizes) - MOST_CHARACTERS
    first, dropped = 0, -(-max(excess, 0) // (MOST_CHARACTERS // 2)) * (MOST_CHARACTERS // 2)
    while dropped > 0 and first < len(turns):
        dropped -= sizes[first]
        first += 1
    return turns[first:]
