"""Which tasks make sense at a place, and what they are called. Pure, quick, and without a model.

Knows no LSP but the names of kinds of actions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lsp_server.edits.document import Document
from lsp_server.edits.target import Target, defined, selected_lines, target_of
from lsp_server.edits.tasks import Task, file_for_tests, file_name
from lsp_server.edits.verify import Reported
from lsp_server.snapshot import LINE_END, with_lf

QUICK_FIX, REWRITE = "quickfix", "refactor.rewrite"
TESTS = f"{REWRITE}.tests"
KINDS = (QUICK_FIX, REWRITE)

MOST_FIXES = 5
MOST_OWN = 20
LONGEST_MESSAGE = 60

_TODO = re.compile(r"\b(?:TODO|FIXME)\b")
_TYPED_BY_HAND = frozenset(["python", "typescript", "typescriptreact"])


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """A diagnostic of any server's, at offsets; ``of`` is its place in the request."""

    start: int
    stop: int
    message: str
    of: int


@dataclass(frozen=True, slots=True)
class Offer:
    """One action to choose from; ``fixes`` is the place of the diagnostic it is for."""

    title: str
    kind: str
    task: Task
    fixes: int | None = None


def offered(
    document: Document, start: int, stop: int, diagnosed: Sequence[Diagnosed], own: Sequence[str] = ()
) -> list[Offer]:
    """For a person who has selected this, or stands there, and has these instructions of their ``own``."""
    found = list(_fixes(document, diagnosed))
    target = target_of(document.language, document.text, start, stop)
    if target.of(document.text).strip() and not target.too_long(document.text):
        found += _of_target(document, target, start)
        found += _own(document, target, own) if target.kind != "line" else ()
    return found


def _fixes(document: Document, diagnosed: Sequence[Diagnosed]) -> Iterator[Offer]:
    """Each message once, however many places it has."""
    first: dict[str, Diagnosed] = {}
    for one in diagnosed:
        first.setdefault(one.message, one)
    text = document.text
    for one in list(first.values())[:MOST_FIXES]:
        target = defined(document.language, text, one.start, one.stop)
        start, stop = (target.start, target.stop) if target else selected_lines(text, one.start, one.stop)
        if not text[start:stop].strip() or Target(start, stop, "line").too_long(text):
            continue
        reported = Reported(len(LINE_END.findall(text[: one.start])), one.message)
        task = Task("fix", document, start, stop, reported=reported)
        yield Offer(f"Fix: {_short(one.message)}", QUICK_FIX, task, one.of)


def _of_target(document: Document, target: Target, cursor: int) -> Iterator[Offer]:
    text, definition = document.text, target.definition
    task = Task("simplify", document, target.start, target.stop)
    whole = target.kind == "definition" or (definition is not None and _is_all(target, text))
    name = _called(target, whole)
    if definition is not None and whole:
        if not definition.documented:
            yield Offer(f"Document {name}", REWRITE, replace(task, name="document"))
        if not definition.typed and document.language in _TYPED_BY_HAND:
            yield Offer(f"Add types to {name}", REWRITE, replace(task, name="types"))
        if into := file_for_tests(document.language, file_name(document.uri)):
            yield Offer(f"Write tests for {name} in {into}", TESTS, replace(task, name="tests", into=into))
    if target.kind != "line":
        yield Offer(f"Simplify {name}", REWRITE, task)
    if todo := _TODO.search(_asked_about(text, target, cursor)):
        yield Offer(f"Complete the {todo.group()}", REWRITE, replace(task, name="todo"))


def _own(document: Document, target: Target, instructions: Sequence[str]) -> Iterator[Offer]:
    for one in [one for one in dict.fromkeys(instructions) if one.strip()][:MOST_OWN]:
        yield Offer(_short(one), REWRITE, Task("edit", document, target.start, target.stop, instruction=one))


def _is_all(target: Target, text: str) -> bool:
    """Is a definition selected, the whole of it and nothing else?"""
    one = target.definition
    return one is not None and selected_lines(text, one.start, one.stop) == (target.start, target.stop)


def _called(target: Target, whole: bool) -> str:
    if not whole:
        return "the selection"
    name = target.definition.name if target.definition else ""
    return f"'{name}'" if name else "this definition"


def _asked_about(text: str, target: Target, cursor: int) -> str:
    """A selection, or the cursor's line: a TODO at the other end of a function is not what a person means."""
    start, stop = (target.start, target.stop) if target.kind == "selection" else selected_lines(text, cursor, cursor)
    return text[start:stop]


def _short(message: str) -> str:
    first = with_lf(message).strip().partition("\n")[0]
    return first if len(first) <= LONGEST_MESSAGE else f"{first[: LONGEST_MESSAGE - 1]}…"
