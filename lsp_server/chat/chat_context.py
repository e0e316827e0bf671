"""Collect the attachments that a message mentions, or the reason why something cannot be attached.

Files must lie inside the workspace and obey the same rules as completion context: no ignored or excluded files, none
that may hold keys. Files in folders that tools fill are attached only if they are open. The editor's text of an open
file wins over the disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from inference.errors import CodeLlamaError
from inference.system.files import TooLongError, read_regular
from inference.text.ignore_rules import ReportProblem, log_problem
from inference.text.languages import language_of
from inference.text.snippets import definitions
from inference.text.source_files import MAX_BYTES, TOOL_FOLDERS
from lsp_server.chat.attachments import Attachment, LeftOut, Mention
from lsp_server.chat.git import GitError, diff
from lsp_server.completion.gate import EDITABLE_SCHEMES, PRIVACY_REASONS
from lsp_server.context.cross_file import OpenFile
from lsp_server.context.imports import imported
from lsp_server.disk import privacy, repository, run_in_background_thread
from lsp_server.snapshot import with_lf

SYMBOL_LINES = 200
MOST_SYMBOLS = 5

T = TypeVar("T")


class AttachmentError(CodeLlamaError, ValueError):
    """Something that was mentioned cannot be attached."""


@dataclass(frozen=True, slots=True)
class SelectedLines:
    """The selected lines of a document; ``first`` is a one-based line number."""

    text: str
    first: int

    @property
    def last(self) -> int:
        return self.first + self.text.rstrip("\n").count("\n")


@dataclass(frozen=True, slots=True)
class ChatContext:
    """The state of the editor session that a chat request refers to.

    Attributes:
        folders: workspace folders.
        excluded: patterns of files that must not reach a model.
        documents: all open documents.
        current: the document that the request names, if any.
        selected: the selection in ``current``.
        diagnostics: the diagnostics of ``current``, one line of text each.
        report: called in a thread with problems in ignore files.
    """

    folders: Sequence[Path]
    excluded: tuple[str, ...]
    documents: Sequence[OpenFile]
    current: OpenFile | None = None
    selected: SelectedLines | None = None
    diagnostics: Sequence[str] = ()
    report: ReportProblem = log_problem

    def why_not(self, path: Path) -> str:
        """Return why a file must not reach the model; empty if it may."""
        private = privacy(path, self._roots, self.excluded, self.report)
        if private:
            return PRIVACY_REASONS[private]
        behind_links = Path(os.path.realpath(path))
        tools = any(TOOL_FOLDERS.match_file(self._below_root(one).as_posix()) for one in (path, behind_links))
        return "it lies in a folder that tools fill" if tools else ""

    def why_not_open(self, file: OpenFile) -> str:
        """Return why an open document, which may have no file, must not reach the model; empty if it may."""
        scheme = file.uri.partition(":")[0].lower()
        if scheme not in EDITABLE_SCHEMES:
            return f"'{scheme}:' documents are not written by hand"
        private = privacy(file.path, self._roots, self.excluded, self.report) if file.path else None
        return PRIVACY_REASONS[private] if private else ""

    def named(self, path: Path) -> str:
        """Return a path relative to its workspace folder; only the file name outside of them."""
        root = next((folder for folder in self.folders if path.is_relative_to(folder)), None)
        return path.relative_to(root).as_posix() if root else path.name

    def title(self, file: OpenFile) -> str:
        """Return the name of an open document for the user."""
        return self.named(file.path) if file.path else "A document without a name"

    @property
    def _roots(self) -> list[Path]:
        """The workspace folders as opened, and with symbolic links resolved."""
        return [*self.folders, *(Path(os.path.realpath(folder)) for folder in self.folders)]

    def _below_root(self, path: Path) -> Path:
        """Return a path relative to its workspace folder or repository."""
        root = next((root for root in (*self._roots, repository(path)) if path.is_relative_to(root)), path.parent)
        return path.relative_to(root)


async def gather_attachments(mention: Mention, context: ChatContext) -> tuple[list[Attachment], list[LeftOut]]:
    """Return the attachments for a mention, and what is left out. Raises AttachmentError if there are none."""
    if mention.kind == "diff":
        return await diff_attachments(context)
    if mention.kind == "open":
        return await in_thread(lambda: _open(context))
    if mention.kind == "file":
        return [await in_thread(lambda: _file(mention, context))], []
    if mention.kind == "symbol":
        return await in_thread(lambda: _symbol(mention, context)), []
    if mention.kind == "diagnostics":
        return [await in_thread(lambda: problems_attachment(context))], []
    return [await in_thread(lambda: code_attachment(context, whole=False))], []


async def in_thread(work: Callable[[], T]) -> T:
    """Run ``work``, which reads files, in a thread. Raises AttachmentError if it takes too long."""
    try:
        return await run_in_background_thread(work)
    except TimeoutError:
        raise AttachmentError(
            "Reading the files took too long. Is a file system slow or an ignore file very long?"
        ) from None


async def diff_attachments(
    context: ChatContext, at: Path | None = None, *, staged: bool = False
) -> tuple[list[Attachment], list[LeftOut]]:
    """Return the diff of the workspace folder, or the ``staged`` changes of the whole repository.

    The repository is that of the folder ``at``, else that of the current document, else that of the first folder.
    Raises AttachmentError.
    """
    at = at or (
        context.current.path.parent if context.current and context.current.path else next(iter(context.folders), None)
    )
    root = repository(at / "x") if at else None
    if at is None or root is None or not (root / ".git").exists():
        raise AttachmentError("There is no git repository here, so there is no diff.")
    opened = next((folder for folder in context.folders if at.is_relative_to(folder)), at)
    folder = opened if opened.is_relative_to(root) else root
    try:
        result = await diff(root if staged else folder, context.why_not, staged=staged)
    except GitError as error:
        raise AttachmentError(str(error)) from error
    left_out = [LeftOut(name, why) for name, why in result.left_out]
    if not result.text.strip():
        raise AttachmentError(_no_changes(staged, left_out))
    title = "The staged changes" if staged else "The changes since the last commit"
    return [Attachment(title, result.text, "diff")], left_out


def code_attachment(context: ChatContext, *, whole: bool) -> Attachment:
    """Return the selection in the current document; without one, the document if ``whole``.

    Raises AttachmentError.
    """
    file = _current(context)
    if context.selected and context.selected.text.strip():
        first, last = context.selected.first, context.selected.last
        lines = f"line {first}" if first == last else f"lines {first} to {last}"
        return Attachment(f"{context.title(file)}, {lines}", context.selected.text, file.language)
    if not whole:
        raise AttachmentError("#selection: nothing is selected. Select some code first.")
    return Attachment(context.title(file), file.text, file.language)


def problems_attachment(context: ChatContext) -> Attachment:
    """Return the diagnostics of the current document. Raises AttachmentError."""
    file = _current(context)
    if not context.diagnostics:
        raise AttachmentError("#diagnostics: the editor sent no diagnostics for this document.")
    return Attachment(f"Diagnostics of {context.title(file)}", "\n".join(context.diagnostics))


def _current(context: ChatContext) -> OpenFile:
    if context.current is None:
        raise AttachmentError("No document is open. Open one first.")
    if why := context.why_not_open(context.current):
        raise AttachmentError(f"{context.title(context.current)} is not shown to the model: {why}.")
    return context.current


def _open(context: ChatContext) -> tuple[list[Attachment], list[LeftOut]]:
    """Return all open documents, the current one first."""
    order = sorted(context.documents, key=lambda file: file != context.current)
    reasons = [(file, context.why_not_open(file)) for file in order]
    attachments = [Attachment(context.title(file), file.text, file.language) for file, why in reasons if not why]
    left_out = [LeftOut(context.title(file), why) for file, why in reasons if why]
    if not attachments:
        raise AttachmentError("#open: no open document may be shown to the model.")
    return attachments, left_out


def _file(mention: Mention, context: ChatContext) -> Attachment:
    path = _workspace_file(mention, context)
    if why := context.why_not(path):
        raise AttachmentError(f"{mention} is not shown to the model: {why}.")
    opened = next((file for file in context.documents if file.path == path), None)
    text = opened.text if opened else _read(mention, path)
    return Attachment(context.named(path), text, opened.language if opened else language_of(path) or "")


def _workspace_file(mention: Mention, context: ChatContext) -> Path:
    """Resolve the path of a mentioned file. Raises AttachmentError if it lies outside the workspace."""
    within = [Path(os.path.normpath(folder / mention.name)) for folder in context.folders]
    there = [path for path in within if path.is_file()]
    path = next(iter(there or within), None)
    if path is None:
        raise AttachmentError(f"{mention}: no workspace folder is open. Open the folder that holds the file.")
    real = [Path(os.path.realpath(folder)) for folder in context.folders]
    if not any(Path(os.path.realpath(path)).is_relative_to(folder) for folder in real):
        raise AttachmentError(f"{mention} lies outside the workspace folders. Only files inside them can be attached.")
    return path


def _read(mention: Mention, path: Path) -> str:
    try:
        if not path.is_file():
            raise AttachmentError(f"{mention}: no workspace folder has this file.")
        text = read_regular(path, MAX_BYTES).decode("utf-8")
    except TooLongError:
        raise AttachmentError(
            f"{mention} has more than {MAX_BYTES:,} bytes. Select the part that matters and use #selection."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise AttachmentError(f"{mention} can't be read as text.") from error
    if "\0" in text:
        raise AttachmentError(f"{mention} can't be read as text.")
    return with_lf(text.removeprefix("\ufeff"))


def _symbol(mention: Mention, context: ChatContext) -> list[Attachment]:
    """Find definitions in the current document, other open documents and imported files, in that order."""
    attachments: list[Attachment] = []
    name = mention.name.rpartition(".")[2]
    for file in _searched(context):
        attachments += [
            Attachment(f"{snippet.path}, definition of {name}", snippet.text, file.language)
            for snippet in definitions(file.language, context.title(file), file.text, SYMBOL_LINES)
            if snippet.defines == name
        ]
    if not attachments:
        raise AttachmentError(f"{mention}: no definition in the open files or in files the current one imports.")
    return attachments[:MOST_SYMBOLS]


def _searched(context: ChatContext) -> Iterator[OpenFile]:
    opened = sorted(context.documents, key=lambda file: file != context.current)
    yield from (file for file in opened if not context.why_not_open(file))
    here = context.current
    if here is None or here.path is None:
        return
    root = next((folder for folder in context.folders if here.path.is_relative_to(folder)), repository(here.path))
    known = {file.path for file in opened}
    for path in imported(here.language, here.text, here.path, root):
        if path not in known and not context.why_not(path):
            with suppress(AttachmentError):  # skip files that are too long or not text
                text = _read(Mention("file", path.name), path)
                yield OpenFile(path.as_uri(), path, language_of(path) or "", text)


def _no_changes(staged: bool, left_out: Sequence[LeftOut]) -> str:
    if left_out:
        return "All that has changed is in files that are not shown to the model."
    return "Nothing is staged: `git add` what is to be committed." if staged else "#diff: nothing has changed."
