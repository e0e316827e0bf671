"""What a person can ask for: one task of a document, and how it is put to a model. Knows no LSP and no engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal, get_args
from urllib.parse import unquote, urlsplit

from inference.text.prompts import Message
from lsp_server.edits.answer import dedented, fence_for
from lsp_server.edits.around import around
from lsp_server.edits.document import Document
from lsp_server.edits.verify import Reported
from lsp_server.prompts.load import messages_for
from lsp_server.snapshot import with_lf

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
class Task:
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


def messages(task: Task) -> list[Message]:
    """What the model is told to begin with."""
    return [Message(one["role"], one["content"]) for one in messages_for(task.name, fields(task))]


def fields(task: Task) -> Mapping[str, str]:
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


def _line(task: Task) -> str:
    """The text of the line that the problem is reported on."""
    lines = with_lf(task.document.text).split("\n")
    number = task.reported.line if task.reported else -1
    return lines[number].strip() if 0 <= number < len(lines) else ""
