"""Tasks on a document: which ones to offer at a position, and their prompt messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Literal, get_args
from urllib.parse import unquote, urlsplit

from inference.text.prompts import Message
from lsp_server.edits.model_answer import dedent, fence_for
from lsp_server.edits.target import Target, find_target, innermost_definition, selected_lines, surrounding_lines
from lsp_server.edits.verify import ReportedProblem
from lsp_server.prompts.templates import messages_for
from lsp_server.snapshot import LINE_END, Document, with_lf

TaskName = Literal["fix", "document", "simplify", "types", "todo", "edit", "tests"]
TASK_NAMES: tuple[TaskName, ...] = get_args(TaskName)

QUICK_FIX, REWRITE = "quickfix", "refactor.rewrite"
TESTS = f"{REWRITE}.tests"
ACTION_KINDS = (QUICK_FIX, REWRITE)
"""LSP code action kinds of all offers."""

MOST_FIXES = 5
MOST_OWN = 20
LONGEST_MESSAGE = 60

_TODO = re.compile(r"\b(?:TODO|FIXME)\b")
_OPTIONALLY_TYPED = frozenset(["python", "typescript", "typescriptreact"])
_SCRIPTS = ("javascript", "javascriptreact", "typescript", "typescriptreact")

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
_FRAMEWORKS = {
    "python": "pytest",
    "go": "Go's testing package, in the same package",
    **dict.fromkeys(_SCRIPTS, "Jest"),
}


@dataclass(frozen=True, slots=True)
class EditTask:
    """A task on the lines ``document.text[start:stop]``.

    Attributes:
        instruction: the user's words, for the task ``edit``.
        reported: the problem to fix, for the task ``fix``.
        into: name of the new file for generated tests. The document itself is not changed then.
        context_chars: how many characters of the surrounding document go into the prompt.
    """

    name: TaskName
    document: Document
    start: int
    stop: int
    instruction: str = ""
    reported: ReportedProblem | None = None
    into: str = ""
    context_chars: int = 0

    @property
    def original(self) -> str:
        """The code to change, with LF."""
        return with_lf(self.document.text[self.start : self.stop])


@dataclass(frozen=True, slots=True)
class DiagnosticSpan:
    """A diagnostic from any server, at offsets; ``of`` is its index in the request."""

    start: int
    stop: int
    message: str
    of: int


@dataclass(frozen=True, slots=True)
class TaskOffer:
    """A code action to offer; ``fixes`` is the index of the diagnostic that it fixes."""

    title: str
    kind: str
    task: EditTask
    fixes: int | None = None


def task_messages(task: EditTask) -> list[Message]:
    """Return the prompt messages of a task."""
    return [Message(one["role"], one["content"]) for one in messages_for(task.name, prompt_fields(task))]


def prompt_fields(task: EditTask) -> Mapping[str, str]:
    """Return every field that a prompt template may use, whichever task it belongs to."""
    language = task.document.language
    file = file_name(task.document.uri)
    before, after = surrounding_lines(language, task.document.text, task.start, task.stop, task.context_chars)
    return {
        "before": fenced(before, language) if before else "",
        "after": fenced(after, language) if after else "",
        "code": fenced(dedent(task.original)[0], language),
        "language": language,
        "file": file,
        "line": _reported_line(task),
        "problem": task.reported.message if task.reported else "",
        "instruction": task.instruction,
        "context": "",
        "question": "",
        "convention": _CONVENTIONS.get(language, "a comment above it"),
        "framework": _FRAMEWORKS.get(language, "the usual framework"),
        "imports": f"Import it from `{PurePath(file).stem}`." if language == "python" else "",
    }


def fenced(code: str, language: str) -> str:
    """Return code as a Markdown block whose fence does not occur in it."""
    fence = fence_for(code)
    return f"{fence}{language}\n{code}\n{fence}"


def file_name(uri: str) -> str:
    """Return the last path segment of a document's URI."""
    return PurePath(unquote(urlsplit(uri).path)).name


def file_name_for_tests(language: str, name: str) -> str:
    """Return the name of the test file that belongs next to the file ``name``.

    Empty for a test file, and if no test-file convention is known for the language.
    """
    path = PurePath(name)
    stem, suffix = path.stem, path.suffix
    names = {"python": f"test_{stem}{suffix}", "go": f"{stem}_test{suffix}"}
    names |= dict.fromkeys(_SCRIPTS, f"{stem}.test{suffix}")
    is_test = stem.startswith("test_") or stem.endswith(("_test", ".test", ".spec"))
    return "" if is_test else names.get(language, "")


def offer_tasks(
    document: Document, start: int, stop: int, diagnosed: Sequence[DiagnosticSpan], own: Sequence[str] = ()
) -> list[TaskOffer]:
    """Return the tasks to offer for a selection or cursor. ``own`` are the instructions from the user's settings."""
    offers = list(_fixes(document, diagnosed))
    target = find_target(document.language, document.text, start, stop)
    if target.of(document.text).strip() and not target.too_long(document.text):
        offers += _rewrites(document, target, start)
        offers += _own(document, target, own) if target.kind != "line" else ()
    return offers


def _reported_line(task: EditTask) -> str:
    """Return the text of the line with the reported problem."""
    lines = with_lf(task.document.text).split("\n")
    number = task.reported.line if task.reported else -1
    return lines[number].strip() if 0 <= number < len(lines) else ""


def _fixes(document: Document, diagnosed: Sequence[DiagnosticSpan]) -> Iterator[TaskOffer]:
    """Offer one fix per message, even if the message occurs several times."""
    first: dict[str, DiagnosticSpan] = {}
    for one in diagnosed:
        first.setdefault(one.message, one)
    text = document.text
    for one in list(first.values())[:MOST_FIXES]:
        target = innermost_definition(document.language, text, one.start, one.stop)
        start, stop = (target.start, target.stop) if target else selected_lines(text, one.start, one.stop)
        if not text[start:stop].strip() or Target(start, stop, "line").too_long(text):
            continue
        reported = ReportedProblem(len(LINE_END.findall(text[: one.start])), one.message)
        task = EditTask("fix", document, start, stop, reported=reported)
        yield TaskOffer(f"Fix: {_short(one.message)}", QUICK_FIX, task, one.of)


def _rewrites(document: Document, target: Target, cursor: int) -> Iterator[TaskOffer]:
    text, definition = document.text, target.definition
    task = EditTask("simplify", document, target.start, target.stop)
    whole = target.kind == "definition" or (definition is not None and _is_all(target, text))
    name = _target_name(target, whole)
    if definition is not None and whole:
        if not definition.documented:
            yield TaskOffer(f"Document {name}", REWRITE, replace(task, name="document"))
        if not definition.typed and document.language in _OPTIONALLY_TYPED:
            yield TaskOffer(f"Add types to {name}", REWRITE, replace(task, name="types"))
        if into := file_name_for_tests(document.language, file_name(document.uri)):
            yield TaskOffer(f"Write tests for {name} in {into}", TESTS, replace(task, name="tests", into=into))
    if target.kind != "line":
        yield TaskOffer(f"Simplify {name}", REWRITE, task)
    if todo := _TODO.search(_todo_text(text, target, cursor)):
        yield TaskOffer(f"Complete the {todo.group()}", REWRITE, replace(task, name="todo"))


def _own(document: Document, target: Target, instructions: Sequence[str]) -> Iterator[TaskOffer]:
    for one in [one for one in dict.fromkeys(instructions) if one.strip()][:MOST_OWN]:
        yield TaskOffer(_short(one), REWRITE, EditTask("edit", document, target.start, target.stop, instruction=one))


def _is_all(target: Target, text: str) -> bool:
    """Return True if exactly one whole definition is selected."""
    one = target.definition
    return one is not None and selected_lines(text, one.start, one.stop) == (target.start, target.stop)


def _target_name(target: Target, whole: bool) -> str:
    if not whole:
        return "the selection"
    name = target.definition.name if target.definition else ""
    return f"'{name}'" if name else "this definition"


def _todo_text(text: str, target: Target, cursor: int) -> str:
    """Return the selection or the cursor's line. A TODO in another line of the function is not offered."""
    start, stop = (target.start, target.stop) if target.kind == "selection" else selected_lines(text, cursor, cursor)
    return text[start:stop]


def _short(message: str) -> str:
    first = with_lf(message).strip().partition("\n")[0]
    return first if len(first) <= LONGEST_MESSAGE else f"{first[: LONGEST_MESSAGE - 1]}…"
