"""A model asked to write a piece of code again: its answer judged, one more try with what was wrong, then the truth.

Knows no LSP. What the model says can become text at the task's place, and nothing else.

What is certain of a rewrite while the model still writes it: the changes above the line it has come to.

Knows no LSP and no engine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from inference.api.events import Cause, Finished, Sampling, TextChunk
from inference.api.requests import MAX_TOKENS_LIMIT, ChatRequest
from inference.text.prompts import Message
from lsp_server.completion.postprocess.indentation import document_indentation
from lsp_server.edits.hunks import LINES, Hunk, UnwritableError, runs, smallest
from lsp_server.edits.model_answer import CodeAnswer, dedented, fitted, read
from lsp_server.edits.tasks import EditTask, Name, fenced, messages
from lsp_server.edits.verify import Change, failure
from lsp_server.snapshot import Position, take, with_lf

TRIES = 2
LEAST_TOKENS = 256
LEAST_OF: Mapping[Name, int] = dict.fromkeys(("tests", "todo", "edit"), 1_024)
"""Tasks whose answer may be much longer than what it is about. The context has the last word."""
CHARACTERS_A_TOKEN = 2
"""Fewer than any vocabulary has on code: an answer gets room for half as much again as it replaces, at least."""


class Chatter(Protocol):
    """An engine, as far as chats go (``engine_link.EngineLink``)."""

    def chat(self, request: ChatRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Raises ``EngineError``."""
        ...


class CouldNotError(RuntimeError):
    """No answer was good enough; the message says what was wrong with the last, for a person."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What the task's piece becomes, with LF, as changes to its document, and the conversation that led to it."""

    text: str
    hunks: tuple[Hunk, ...]
    said: tuple[Message, ...]


async def rewritten(
    engine: Chatter,
    task: EditTask,
    tell: Callable[[str], None],
    said: tuple[Message, ...] = (),
    keeps_lines: bool = False,
) -> Rewrite:
    """Ask, judge and, if need be, ask again. ``tell`` gets the answer as it grows, from its start.

    ``said`` is a conversation to go on with, in place of the task's own beginning. Where the client ``keeps_lines``,
    new ones end in LF. Raises CouldNotError, and ``EngineError`` where the engine does not answer.
    """
    turns, why = said or tuple(messages(task)), ""
    for _ in range(TRIES):
        text, cause = await _answer(engine, task, turns, tell)
        turns += (Message("assistant", text),)
        made = await asyncio.to_thread(_judged, task, read(text, cause), keeps_lines)
        if not isinstance(made, str):
            return Rewrite(*made, turns)
        why = made
        turns += (Message("user", f"That can't be used. {why} Write all of the code again, in one code block."),)
    raise CouldNotError(why)


def as_it_would_stand(task: EditTask, code: str) -> str:
    """A model's code at the place's indentation, and with the document's tabs or spaces."""
    if task.into:
        return code + "\n"
    placed = take(task.document.text, Position(task.document.position(task.start).line, 0), "utf-32")
    return fitted(document_indentation(placed, "\n" + code)[1:], task.original)


async def _answer(
    engine: Chatter, task: EditTask, turns: tuple[Message, ...], tell: Callable[[str], None]
) -> tuple[str, Cause | None]:
    text, cause = "", None
    async with aclosing(engine.chat(_request(task, turns))) as events:
        async for event in events:
            if isinstance(event, TextChunk):
                text += event.text
                tell(text)
            else:
                cause = event.outcome.cause
    return text, cause


def _request(task: EditTask, turns: tuple[Message, ...]) -> ChatRequest:
    """Most of an answer is what stood there already: that is drafted."""
    code = dedented(task.original)[0]
    least = LEAST_OF.get(task.name, LEAST_TOKENS)
    room = max(least, least // 2 + len(code) // CHARACTERS_A_TOKEN)
    prediction = "" if task.into else fenced(code, task.document.language)
    sampling = Sampling(max_tokens=min(room, MAX_TOKENS_LIMIT), prediction=prediction)
    return ChatRequest(turns, sampling=sampling)


def _judged(task: EditTask, answer: CodeAnswer, keeps_lines: bool) -> tuple[str, tuple[Hunk, ...]] | str:
    """The rewrite and its changes, or what is wrong with it."""
    text = as_it_would_stand(task, answer.code) if answer.code else ""
    if why := failure(_change(task, text, answer.whole)):
        return why
    if task.into:
        return text, ()
    document = task.document
    line_end = "\n" if keeps_lines else document.line_end
    try:
        return text, tuple(smallest(document.text, task.start, task.stop, text, line_end))
    except UnwritableError as error:
        return str(error)


def _change(task: EditTask, rewrite: str, whole: bool) -> Change:
    language, text = task.document.language, task.document.text
    if task.into:
        return Change(task.name, language, "", "", "", rewrite, whole)
    before, after = with_lf(text[: task.start]), with_lf(text[task.stop :])
    return Change(task.name, language, before, task.original, after, rewrite, whole, task.reported)


MOST_COMPARED = 20_000
"""As ``hunks.MOST_COMPARED``, for what is compared while others wait: some hundredths of a second."""
QUICK = 0.01
"""Seconds of work that may be done for each line; what takes more is followed by ``REST`` times as long without."""
REST = 10


@dataclass
class Sketch:
    """Shows what is certain of an answer as it grows: once a line, if it is new, and if that does not cost too much.

    ``clock`` tells the time, ``worked`` how much of it was spent at work, both in seconds.
    """

    task: EditTask
    show: Callable[[tuple[Hunk, ...]], None]
    keeps_lines: bool = False
    clock: Callable[[], float] = time.monotonic
    worked: Callable[[], float] = time.thread_time
    _lines: int = 0
    _drawn: tuple[Hunk, ...] = ()
    _rests_until: float = 0.0

    def __call__(self, text: str) -> None:
        lines = text.count("\n")
        if lines == self._lines or self.clock() < self._rests_until:
            return
        begun = self.worked()
        self._lines, hunks = lines, tuple(so_far(self.task, text, self.keeps_lines))
        if hunks != self._drawn:
            self._drawn = hunks
            self.show(hunks)
        took = self.worked() - begun
        self._rests_until = self.clock() + REST * took * (took > QUICK)


def so_far(task: EditTask, said: str, keeps_lines: bool = False) -> list[Hunk]:
    """Hunks of the task's document, from whole lines of an answer's beginning. None before its code begins.

    What differs at the end may be a change or just what has not been written yet: that is left out.
    """
    answer = read(said[: said.rfind("\n") + 1], None)
    if not answer.fenced or not answer.code:
        return []
    text, document = task.document.text, task.document
    old = LINES.findall(task.original)
    new = LINES.findall(as_it_would_stand(task, answer.code) + "\n" * (not answer.whole))
    changed = runs(old, new, MOST_COMPARED)
    if changed and not answer.whole and changed[-1].old_stop == len(old):
        old, new = old[: changed[-1].old_start], new[: changed[-1].new_start]
    stop = task.start + sum(map(len, LINES.findall(text[task.start : task.stop])[: len(old)]))
    line_end = "\n" if keeps_lines else document.line_end
    try:
        return smallest(text, task.start, stop, "".join(new), line_end, MOST_COMPARED)
    except UnwritableError:
        return []
