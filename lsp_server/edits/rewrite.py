"""Rewrite code with a model: ask, validate, ask once more with the fault, or report why it failed.

The model's answer can only become text at the task's lines. While the model writes, ``PartialRewrite`` shows the
changes that are already certain: those above the line being written.
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
from inference.errors import CodeLlamaError
from inference.text.prompts import Message
from lsp_server.completion.postprocess.rules import document_indentation
from lsp_server.edits.hunks import LINES, Hunk, UnwritableError, diff_runs, smallest_hunks
from lsp_server.edits.model_answer import CodeAnswer, dedent, parse_answer, reindent
from lsp_server.edits.tasks import EditTask, TaskName, fenced, task_messages
from lsp_server.edits.verify import Change, failure
from lsp_server.snapshot import Position, take, with_lf

TRIES = 2
LEAST_TOKENS = 256
LEAST_OF: Mapping[TaskName, int] = dict.fromkeys(("tests", "todo", "edit"), 1_024)
"""Tasks whose answer may be much longer than the original code. The context length limits it further."""
CHARACTERS_A_TOKEN = 2
"""Fewer than any vocabulary has on code, so an answer may be at least half as long again as the original."""

MOST_COMPARED = 20_000
"""As ``hunks.MOST_COMPARED``, for comparisons on the event loop: some hundredths of a second."""
QUICK = 0.01
"""Seconds of work allowed at every line. Longer work is followed by a pause ``REST`` times as long."""
REST = 10


class ChatBackend(Protocol):
    """The chat interface of the local engine and of remote servers."""

    def chat(self, request: ChatRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream the answer. Raises ``EngineError``."""
        ...


class EditError(CodeLlamaError, RuntimeError):
    """The task failed: no answer was valid, or the document changed."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A valid rewrite.

    Attributes:
        text: the new code, with LF.
        hunks: the changes to the task's document.
        said: the messages that led to it, the last answer included.
    """

    text: str
    hunks: tuple[Hunk, ...]
    said: tuple[Message, ...]


async def request_rewrite(
    engine: ChatBackend,
    task: EditTask,
    on_text: Callable[[str], None],
    history: tuple[Message, ...] = (),
    keeps_lines: bool = False,
) -> Rewrite:
    """Ask the model, validate the answer and retry once if it is not valid.

    Args:
        engine: the model's server.
        task: the code to rewrite.
        on_text: called with the whole answer so far as it grows.
        history: messages of an earlier request to continue, in place of the task's prompt.
        keeps_lines: the client converts line ends itself, so new lines end in LF.

    Raises EditError if no answer was valid, and ``EngineError``.
    """
    messages, why = history or tuple(task_messages(task)), ""
    for _ in range(TRIES):
        text, cause = await _answer(engine, task, messages, on_text)
        messages += (Message("assistant", text),)
        result = await asyncio.to_thread(_validated, task, parse_answer(text, cause), keeps_lines)
        if not isinstance(result, str):
            return Rewrite(*result, messages)
        why = result
        messages += (Message("user", f"That can't be used. {why} Write all of the code again, in one code block."),)
    raise EditError(why)


def code_in_place(task: EditTask, code: str) -> str:
    """Return a model's code at the original's indentation, with the document's tabs or spaces."""
    if task.into:
        return code + "\n"
    snapshot = take(task.document.text, Position(task.document.position(task.start).line, 0), "utf-32")
    return reindent(document_indentation(snapshot, "\n" + code)[1:], task.original)


@dataclass
class PartialRewrite:
    """Shows the certain changes of a growing answer: once per line, if they are new and cheap enough to compute.

    Attributes:
        show: called with the hunks that are certain so far.
        clock: current time, in seconds.
        worked: CPU time of this thread, in seconds.
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
        self._lines, hunks = lines, tuple(certain_hunks(self.task, text, self.keeps_lines))
        if hunks != self._drawn:
            self._drawn = hunks
            self.show(hunks)
        took = self.worked() - begun
        self._rests_until = self.clock() + REST * took * (took > QUICK)


def certain_hunks(task: EditTask, partial: str, keeps_lines: bool = False) -> list[Hunk]:
    """Return the hunks of the whole lines of an unfinished answer; none before its code begins.

    A difference at the end is left out: it may be a change, or code that the model has not written yet.
    """
    answer = parse_answer(partial[: partial.rfind("\n") + 1], None)
    if not answer.fenced or not answer.code:
        return []
    text, document = task.document.text, task.document
    old = LINES.findall(task.original)
    new = LINES.findall(code_in_place(task, answer.code) + "\n" * (not answer.whole))
    changed = diff_runs(old, new, MOST_COMPARED)
    if changed and not answer.whole and changed[-1].old_stop == len(old):
        old, new = old[: changed[-1].old_start], new[: changed[-1].new_start]
    stop = task.start + sum(map(len, LINES.findall(text[task.start : task.stop])[: len(old)]))
    line_end = "\n" if keeps_lines else document.line_end
    try:
        return smallest_hunks(text, task.start, stop, "".join(new), line_end, MOST_COMPARED)
    except UnwritableError:
        return []


async def _answer(
    engine: ChatBackend, task: EditTask, messages: tuple[Message, ...], on_text: Callable[[str], None]
) -> tuple[str, Cause | None]:
    text, cause = "", None
    async with aclosing(engine.chat(_request(task, messages))) as events:
        async for event in events:
            if isinstance(event, TextChunk):
                text += event.text
                on_text(text)
            else:
                cause = event.outcome.cause
    return text, cause


def _request(task: EditTask, messages: tuple[Message, ...]) -> ChatRequest:
    """Build the request. The original code is the draft for speculative decoding: most of it comes back."""
    code = dedent(task.original)[0]
    least = LEAST_OF.get(task.name, LEAST_TOKENS)
    room = max(least, least // 2 + len(code) // CHARACTERS_A_TOKEN)
    prediction = "" if task.into else fenced(code, task.document.language)
    sampling = Sampling(max_tokens=min(room, MAX_TOKENS_LIMIT), prediction=prediction)
    return ChatRequest(messages, sampling=sampling)


def _validated(task: EditTask, answer: CodeAnswer, keeps_lines: bool) -> tuple[str, tuple[Hunk, ...]] | str:
    """Return the rewrite and its hunks, or a sentence that says why it is not valid."""
    text = code_in_place(task, answer.code) if answer.code else ""
    if why := failure(_change(task, text, answer.whole)):
        return why
    if task.into:
        return text, ()
    document = task.document
    line_end = "\n" if keeps_lines else document.line_end
    try:
        return text, tuple(smallest_hunks(document.text, task.start, task.stop, text, line_end))
    except UnwritableError as error:
        return str(error)


def _change(task: EditTask, rewrite: str, whole: bool) -> Change:
    language, text = task.document.language, task.document.text
    if task.into:
        return Change(task.name, language, "", "", "", rewrite, whole)
    before, after = with_lf(text[: task.start]), with_lf(text[task.stop :])
    return Change(task.name, language, before, task.original, after, rewrite, whole, task.reported)
