"""From what a message mentions to pieces of files, or to why not. Knows neither LSP nor the engine.

A file reaches a model only from inside the workspace, and by the rules that completion's context has: none that is
ignored, excluded or may hold keys by its name, nor, unless it is open, of a folder that tools fill. What is open counts
as it is in the editor.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from inference.system.files import TooLongError, read_regular
from inference.text.ignore_rules import Report, log_problem
from inference.text.languages import language_of
from inference.text.snippets import definitions
from inference.text.source_files import MAX_BYTES, NOT_YOURS
from lsp_server.chat.attachments import Attachment, LeftOut, Mention
from lsp_server.chat.git import GitError, diff
from lsp_server.completion.gate import PRIVATE, WRITTEN
from lsp_server.context.cross_file import OpenFile
from lsp_server.context.imports import imported
from lsp_server.disk import beside, privacy, repository
from lsp_server.snapshot import with_lf

SYMBOL_LINES = 200
MOST_SYMBOLS = 5

T = TypeVar("T")


class RefusedMention(ValueError):
    """What was mentioned can't go along; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Selected:
    """The lines of a document that a person points at; ``first`` counts from one."""

    text: str
    first: int

    @property
    def last(self) -> int:
        return self.first + self.text.rstrip("\n").count("\n")


@dataclass(frozen=True, slots=True)
class ChatContext:
    """What lies before the person as they ask.

    Attributes:
        folders: of the workspace.
        excluded: patterns of files that no model may see.
        documents: all that is open.
        current: the one that the request is about, if it names one.
        selected: in it.
        diagnostics: of it, a line of text each.
        report: is told, in a thread, what is wrong with ignore files.
    """

    folders: Sequence[Path]
    excluded: tuple[str, ...]
    documents: Sequence[OpenFile]
    current: OpenFile | None = None
    selected: Selected | None = None
    diagnostics: Sequence[str] = ()
    report: Report = log_problem

    def why_not(self, path: Path) -> str:
        """Why a file must not be shown, in words, or an empty string."""
        private = privacy(path, self._roots, self.excluded, self.report)
        if private:
            return PRIVATE[private]
        behind_links = Path(os.path.realpath(path))
        tools = any(NOT_YOURS.match_file(self._below_root(one).as_posix()) for one in (path, behind_links))
        return "it lies in a folder that tools fill" if tools else ""

    def why_not_open(self, file: OpenFile) -> str:
        """The same of a document that the person has open, which need not lie in a file."""
        scheme = file.uri.partition(":")[0].lower()
        if scheme not in WRITTEN:
            return f"'{scheme}:' documents are not written by hand"
        private = privacy(file.path, self._roots, self.excluded, self.report) if file.path else None
        return PRIVATE[private] if private else ""

    def named(self, path: Path) -> str:
        """As a person would name it: from its folder of the workspace on."""
        root = next((folder for folder in self.folders if path.is_relative_to(folder)), None)
        return path.relative_to(root).as_posix() if root else path.name

    def title(self, file: OpenFile) -> str:
        """The same of an open document."""
        return self.named(file.path) if file.path else "A document without a name"

    @property
    def _roots(self) -> list[Path]:
        """The folders by the names they are opened under, and by those they have behind links."""
        return [*self.folders, *(Path(os.path.realpath(folder)) for folder in self.folders)]

    def _below_root(self, path: Path) -> Path:
        """The part of a path that its folder of the workspace, or its repository, has a say in."""
        root = next((root for root in (*self._roots, repository(path)) if path.is_relative_to(root)), path.parent)
        return path.relative_to(root)


async def gather(mention: Mention, desk: ChatContext) -> tuple[list[Attachment], list[LeftOut]]:
    """The pieces, and what is left out of them. Raises RefusedMention where there is nothing to show."""
    if mention.kind == "diff":
        return await changes(desk)
    if mention.kind == "open":
        return await in_thread(lambda: _open(desk))
    if mention.kind == "file":
        return [await in_thread(lambda: _file(mention, desk))], []
    if mention.kind == "symbol":
        return await in_thread(lambda: _symbol(mention, desk)), []
    if mention.kind == "diagnostics":
        return [await in_thread(lambda: problems(desk))], []
    return [await in_thread(lambda: code(desk, whole=False))], []


async def in_thread(work: Callable[[], T]) -> T:
    """Run ``work``, which asks whether files may be shown, in a thread. Raises RefusedMention if it takes long, too."""
    try:
        return await beside(work)
    except TimeoutError:
        raise RefusedMention("The files could not be read in time. Is a file system or an ignore file slow?") from None


async def changes(
    desk: ChatContext, at: Path | None = None, *, staged: bool = False
) -> tuple[list[Attachment], list[LeftOut]]:
    """The diff of the workspace's folder, or of what is staged in the whole repository.

    The repository is that of the folder ``at``; else the one that the current document lies in, which may be one within
    the folder; without a document that of the first folder.
    """
    at = at or (desk.current.path.parent if desk.current and desk.current.path else next(iter(desk.folders), None))
    root = repository(at / "x") if at else None
    if at is None or root is None or not (root / ".git").exists():
        raise RefusedMention("There is no git repository here, so there is no diff.")
    opened = next((folder for folder in desk.folders if at.is_relative_to(folder)), at)
    folder = opened if opened.is_relative_to(root) else root
    try:
        found = await diff(root if staged else folder, desk.why_not, staged=staged)
    except GitError as error:
        raise RefusedMention(str(error)) from error
    left_out = [LeftOut(name, why) for name, why in found.left_out]
    if not found.text.strip():
        raise RefusedMention(_nothing(staged, left_out))
    title = "The staged changes" if staged else "The changes since the last commit"
    return [Attachment(title, found.text, "diff")], left_out


def code(desk: ChatContext, *, whole: bool) -> Attachment:
    """What is selected in the current document or, with ``whole``, all of it where nothing is.

    Raises RefusedMention.
    """
    file = _current(desk)
    if desk.selected and desk.selected.text.strip():
        first, last = desk.selected.first, desk.selected.last
        lines = f"line {first}" if first == last else f"lines {first} to {last}"
        return Attachment(f"{desk.title(file)}, {lines}", desk.selected.text, file.language)
    if not whole:
        raise RefusedMention("#selection: nothing is selected.")
    return Attachment(desk.title(file), file.text, file.language)


def problems(desk: ChatContext) -> Attachment:
    """What other servers say of the current document. Raises RefusedMention."""
    file = _current(desk)
    if not desk.diagnostics:
        raise RefusedMention("#diagnostics: the editor has sent none for this document.")
    return Attachment(f"Diagnostics of {desk.title(file)}", "\n".join(desk.diagnostics))


def _current(desk: ChatContext) -> OpenFile:
    if desk.current is None:
        raise RefusedMention("The request names no open document.")
    if why := desk.why_not_open(desk.current):
        raise RefusedMention(f"{desk.title(desk.current)} is not shown to the model: {why}.")
    return desk.current


def _open(desk: ChatContext) -> tuple[list[Attachment], list[LeftOut]]:
    """All that is open, the current document first."""
    order = sorted(desk.documents, key=lambda file: file != desk.current)
    reasons = [(file, desk.why_not_open(file)) for file in order]
    pieces = [Attachment(desk.title(file), file.text, file.language) for file, why in reasons if not why]
    left_out = [LeftOut(desk.title(file), why) for file, why in reasons if why]
    if not pieces:
        raise RefusedMention("#open: there is no open document that may be shown to the model.")
    return pieces, left_out


def _file(mention: Mention, desk: ChatContext) -> Attachment:
    path = _inside(mention, desk)
    if why := desk.why_not(path):
        raise RefusedMention(f"{mention} is not shown to the model: {why}.")
    opened = next((file for file in desk.documents if file.path == path), None)
    text = opened.text if opened else _read(mention, path)
    return Attachment(desk.named(path), text, opened.language if opened else language_of(path) or "")


def _inside(mention: Mention, desk: ChatContext) -> Path:
    """The file, whatever links and dots are in its name. Raises RefusedMention for one outside of the workspace."""
    within = [Path(os.path.normpath(folder / mention.name)) for folder in desk.folders]
    there = [path for path in within if path.is_file()]
    path = next(iter(there or within), None)
    if path is None:
        raise RefusedMention(f"{mention}: no folder is open, so no file can be named.")
    real = [Path(os.path.realpath(folder)) for folder in desk.folders]
    if not any(Path(os.path.realpath(path)).is_relative_to(folder) for folder in real):
        raise RefusedMention(f"{mention} lies outside the folders of this window; only files in them can be named.")
    return path


def _read(mention: Mention, path: Path) -> str:
    try:
        if not path.is_file():
            raise RefusedMention(f"{mention}: there is no such file in the folders of this window.")
        text = read_regular(path, MAX_BYTES).decode("utf-8")
    except TooLongError:
        raise RefusedMention(f"{mention} has more than {MAX_BYTES:,} bytes; select the part that matters.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedMention(f"{mention} can't be read as text.") from error
    if "\0" in text:
        raise RefusedMention(f"{mention} can't be read as text.")
    return with_lf(text.removeprefix("\ufeff"))


def _symbol(mention: Mention, desk: ChatContext) -> list[Attachment]:
    """Its definitions in what is open and in what the current document imports, the current document's own first."""
    found: list[Attachment] = []
    name = mention.name.rpartition(".")[2]
    for file in _around(desk):
        pieces = definitions(file.language, desk.title(file), file.text, SYMBOL_LINES)
        found += [
            Attachment(f"{piece.path}, definition of {name}", piece.text, file.language)
            for piece in pieces
            if piece.defines == name
        ]
    if not found:
        raise RefusedMention(f"{mention}: no open file defines it, and none that the current one imports.")
    return found[:MOST_SYMBOLS]


def _around(desk: ChatContext) -> Iterator[OpenFile]:
    opened = sorted(desk.documents, key=lambda file: file != desk.current)
    yield from (file for file in opened if not desk.why_not_open(file))
    here = desk.current
    if here is None or here.path is None:
        return
    root = next((folder for folder in desk.folders if here.path.is_relative_to(folder)), repository(here.path))
    known = {file.path for file in opened}
    for path in imported(here.language, here.text, here.path, root):
        if path not in known and not desk.why_not(path):
            with suppress(RefusedMention):  # what is no text, or too long, is looked for in the others
                text = _read(Mention("file", path.name), path)
                yield OpenFile(path.as_uri(), path, language_of(path) or "", text)


def _nothing(staged: bool, left_out: Sequence[LeftOut]) -> str:
    if left_out:
        return "All that has changed is in files that are not shown to the model."
    return "Nothing is staged: `git add` what is to be committed." if staged else "#diff: nothing has changed."
