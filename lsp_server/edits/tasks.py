"""What a person can ask for: one task of a document, and how it is put to a model. Knows no LSP and no engine.

Which tasks make sense at a place, and what they are called. Pure, quick, and without a model.

Knows no LSP but the names of kinds of actions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Literal, get_args
from urllib.parse import unquote, urlsplit

from inference.text.prompts import Message
from lsp_server.edits.model_answer import dedented, fence_for
from lsp_server.edits.target import Target, around, defined, selected_lines, target_of
from lsp_server.edits.verify import Reported
from lsp_server.prompts.templates import messages_for
from lsp_server.snapshot import LINE_END, Document, with_lf

Name = Literal["fix", "document", "simplify", "types", "todo", "edit", "tests"]
NAMES: tuple[Name, ...] = get_args(Name)

_CONVENTIONS = {
    "python": "a docstring in triple double quotes as its first statement",
    "go": "a comment of // lines above it that begins with its name",
    "rust": "/// documentation comments above it",
    "java": "a Javadoc comment above it",
    "csharp": "/// XML documentation comments above it",
    "php": "a PHPDoc comment above it",
    "cpp": "a Doxygen comment above it",
    "c": "a Doxygen comment above it",
    "bash": "a comment above it",
    "javascript": "a JSDoc comment above it",
    "javascriptreact": "a JSDoc comment above it",
    "typescript": "a TSDoc comment above it",
    "typescriptreact": "a TSDoc comment above it",
}


@dataclass(frozen=True, slots=True)
class EditTask:
    """What is to become of ``document``'s text from ``start`` to ``stop``.

    Attributes:
        instruction: in the person's words, where the task is ``edit``.
        reported: the problem to fix, where it is ``fix``.
        into: the new file that tests go to; nothing of the document changes then.
        context_chars: how much of the document around it is shown too.
    """

    name: Name
    document: Document
    start: int
    stop: int
    instruction: str = ""
    reported: Reported | None = None
    into: str = ""
    context_chars: int = 0

    @property
    def original(self) -> str:
        """What stands there, with LF."""
        return with_lf(self.document.text[self.start : self.stop])


def messages(task: EditTask) -> list[Message]:
    """What the model is told to begin with."""
    return [Message(one["role"], one["content"]) for one in messages_for(task.name, fields(task))]


def fields(task: EditTask) -> Mapping[str, str]:
    """All that a prompt may name, so that a person's own may too."""
    language = task.document.language
    file = file_name(task.document.uri)
    before, after = around(language, task.document.text, task.start, task.stop, task.context_chars)
    return {
        "before": fenced(before, language) if before else "",
        "after": fenced(after, language) if after else "",
        "code": fenced(dedented(task.original)[0], language),
        "language": language,
        "file": file,
        "line": _line(task),
        "problem": task.reported.message if task.reported else "",
        "instruction": task.instruction,
        "context": "",
        "question": "",
        "convention": _CONVENTIONS.get(language, "a comment above it"),
        "framework": _FRAMEWORKS.get(language, "the usual framework"),
        "imports": f"Import it from `{PurePath(file).stem}`." if language == "python" else "",
    }


_FRAMEWORKS = {
    "python": "pytest",
    "go": "Go's testing package, in the same package",
    "javascript": "Jest",
    "javascriptreact": "Jest",
    "typescript": "Jest",
    "typescriptreact": "Jest",
}


def file_for_tests(language: str, name: str) -> str:
    """What the file with the tests of a file is called, beside it; empty where there is no one custom."""
    path = PurePath(name)
    stem, suffix = path.stem, path.suffix
    names = {"python": f"test_{stem}{suffix}", "go": f"{stem}_test{suffix}"}
    names |= dict.fromkeys(("javascript", "javascriptreact", "typescript", "typescriptreact"), f"{stem}.test{suffix}")
    is_one = stem.startswith("test_") or stem.endswith(("_test", ".test", ".spec"))
    return "" if is_one else names.get(language, "")


def fenced(code: str, language: str) -> str:
    """Code as a block of Markdown that nothing in it ends."""
    fence = fence_for(code)
    return f"{fence}{language}\n{code}\n{fence}"


def file_name(uri: str) -> str:
    """The last part of a document's URI."""
    return PurePath(unquote(urlsplit(uri).path)).name


def _line(task: EditTask) -> str:
    """The text of the line that the problem is reported on."""
    lines = with_lf(task.document.text).split("\n")
    number = task.reported.line if task.reported else -1
    return lines[number].strip() if 0 <= number < len(lines) else ""


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
class TaskOffer:
    """One action to choose from; ``fixes`` is the place of the diagnostic it is for."""

    title: str
    kind: str
    task: EditTask
    fixes: int | None = None


def offered(
    document: Document, start: int, stop: int, diagnosed: Sequence[Diagnosed], own: Sequence[str] = ()
) -> list[TaskOffer]:
    """For a person who has selected this, or stands there, and has these instructions of their ``own``."""
    found = list(_fixes(document, diagnosed))
    target = target_of(document.language, document.text, start, stop)
    if target.of(document.text).strip() and not target.too_long(document.text):
        found += _of_target(document, target, start)
        found += _own(document, target, own) if target.kind != "line" else ()
    return found


def _fixes(document: Document, diagnosed: Sequence[Diagnosed]) -> Iterator[TaskOffer]:
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
        task = EditTask("fix", document, start, stop, reported=reported)
        yield TaskOffer(f"Fix: {_short(one.message)}", QUICK_FIX, task, one.of)


def _of_target(document: Document, target: Target, cursor: int) -> Iterator[TaskOffer]:
    text, definition = document.text, target.definition
    task = EditTask("simplify", document, target.start, target.stop)
    whole = target.kind == "definition" or (definition is not None and _is_all(target, text))
    name = _called(target, whole)
    if definition is not None and whole:
        if not definition.documented:
            yield TaskOffer(f"Document {name}", REWRITE, replace(task, name="document"))
        if not definition.typed and document.language in _TYPED_BY_HAND:
            yield TaskOffer(f"Add types to {name}", REWRITE, replace(task, name="types"))
        if into := file_for_tests(document.language, file_name(document.uri)):
            yield TaskOffer(f"Write tests for {name} in {into}", TESTS, replace(task, name="tests", into=into))
    if target.kind != "line":
        yield TaskOffer(f"Simplify {name}", REWRITE, task)
    if todo := _TODO.search(_asked_about(text, target, cursor)):
        yield TaskOffer(f"Complete the {todo.group()}", REWRITE, replace(task, name="todo"))


def _own(document: Document, target: Target, instructions: Sequence[str]) -> Iterator[TaskOffer]:
    for one in [one for one in dict.fromkeys(instructions) if one.strip()][:MOST_OWN]:
        yield TaskOffer(_short(one), REWRITE, EditTask("edit", document, target.start, target.stop, instruction=one))


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
