"""Where the person was at work before: the regions they have just left. Pure; knows no LSP.

A request for a completion says where the person is. A region is remembered when they go on to another.

From open files, imports and recent places to a few ranked chunks for one request. Knows no LSP types.

Within a time budget: a source that comes late is left out. What was gathered stays the same while the person types on
at one place, or the engine would have to read its prompt anew. No file is read that may not be.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from inference.system.files import read_regular
from inference.text.languages import language_of
from inference.text.prompts import Snippet
from inference.text.snippets import SourceSnippet, choose, definitions, portions
from inference.text.source_files import MAX_BYTES
from lsp_server.context.imports import imported
from lsp_server.snapshot import Snapshot, with_lf

REGIONS = 16
AROUND = 12
"""Lines above and below the cursor that make a region."""
FAR = 32
"""Lines beyond which the cursor is somewhere else."""


@dataclass(frozen=True, slots=True)
class Region:
    """Lines of a document; ``uri`` names it."""

    uri: str
    line: int
    text: str


@dataclass
class Recent:
    """The regions left last, newest first."""

    regions: deque[Region] = field(default_factory=lambda: deque(maxlen=REGIONS))
    _here: Region | None = None

    def at(self, uri: str, line: int, text: str) -> None:
        """The person is at ``line`` of a document whose text is ``text``."""
        here = self._here
        if here is not None and (here.uri != uri or abs(here.line - line) > FAR):
            self._remember(here)
        lines = text.split("\n")
        self._here = Region(uri, line, "\n".join(lines[max(line - AROUND, 0) : line + AROUND + 1]))

    def forget(self, uri: str) -> None:
        """The document is closed."""
        self.regions = deque((region for region in self.regions if region.uri != uri), maxlen=REGIONS)
        if self._here is not None and self._here.uri == uri:
            self._here = None

    def _remember(self, region: Region) -> None:
        """Instead of what was remembered of the same place."""
        others = [old for old in self.regions if old.uri != region.uri or abs(old.line - region.line) > AROUND]
        self.regions = deque([region, *others][:REGIONS], maxlen=REGIONS)


SECONDS = 0.05
MOST_PIECES = 400
STAYS_LINES, STAYS_SECONDS = 12, 5.0
"""As long as the cursor moves no further, the pause is no longer, and nothing is edited in other open files, the chunks
stay what they are."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A document that an editor has open; ``path`` is None for one that is no file."""

    uri: str
    path: Path | None
    language: str
    text: str


@dataclass
class _Frozen:
    line: int
    used: float
    others: tuple[tuple[str, str], ...]
    chunks: tuple[Snippet, ...]

    def holds(self, line: int, now: float, others: tuple[tuple[str, str], ...]) -> bool:
        near = abs(self.line - line) <= STAYS_LINES and now - self.used <= STAYS_SECONDS
        return near and self.others == others


@dataclass
class Context:
    """Gathers for one editor window.

    Attributes:
        may_read: whether a file may reach a model: no ignored one, none that may hold keys.
    """

    may_read: Callable[[Path], bool]
    recent: Recent = field(default_factory=Recent)
    clock: Callable[[], float] = time.perf_counter
    _frozen: dict[str, _Frozen] = field(default_factory=dict)

    def chunks(
        self, snapshot: Snapshot, window: str, files: Sequence[OpenFile], root: Path, limit: int
    ) -> tuple[Snippet, ...]:
        """At most ``limit`` characters in a few chunks, the most important first; ``window`` is shown anyway.

        ``files`` are the open documents, the snapshot's own among them; paths are given relative to ``root``.
        """
        now, remembered = self.clock(), self._frozen
        self.recent.at(snapshot.uri, snapshot.line, snapshot.before + snapshot.after)
        old = remembered.get(snapshot.uri)
        others = tuple((file.uri, file.text) for file in files if file.uri != snapshot.uri)
        if old and old.holds(snapshot.line, now, others):
            old.used = now
            return old.chunks
        pieces = self._pieces(snapshot, files, root, now + SECONDS)
        chosen = choose(snapshot.before, snapshot.right, window, pieces, limit)
        if self._frozen is remembered:  # not where something was closed or changed meanwhile, as this runs in a thread
            self._frozen = {snapshot.uri: _Frozen(snapshot.line, now, others, chosen)}
        return chosen

    def forget(self, uri: str) -> None:
        """The document is closed."""
        self.recent.forget(uri)
        self._frozen = {}

    def thaw(self) -> None:
        """What may be shown, or how much of it, has changed."""
        self._frozen = {}

    def _pieces(self, snapshot: Snapshot, files: Sequence[OpenFile], root: Path, until: float) -> list[SourceSnippet]:
        """Of every source in turn, as long as there is time."""
        pieces: list[SourceSnippet] = []
        for source in (self._imports(snapshot, files, root), self._left(files, root), self._open(files, root)):
            for found in source:
                pieces += found
                if self.clock() > until or len(pieces) >= MOST_PIECES:
                    return pieces[:MOST_PIECES]
        return pieces

    def _imports(self, snapshot: Snapshot, files: Sequence[OpenFile], root: Path) -> Iterator[list[SourceSnippet]]:
        """What the files define that the document imports."""
        here = next((file for file in files if file.uri == snapshot.uri), None)
        if here is None or here.path is None:
            return
        edited = {file.path: file.text for file in files}
        for path in imported(here.language, here.text, here.path, root):
            if self.may_read(path):
                text = edited.get(path) or _read(path, path.stat().st_mtime_ns)
                yield definitions(language_of(path) or "", _named(path, root), text)

    def _left(self, files: Sequence[OpenFile], root: Path) -> Iterator[list[SourceSnippet]]:
        """Where the person was before."""
        paths = {file.uri: file.path for file in files}
        for region in self.recent.regions:
            path = paths.get(region.uri)
            if path is not None and self.may_read(path):
                yield [SourceSnippet(_named(path, root), region.text)]

    def _open(self, files: Sequence[OpenFile], root: Path) -> Iterator[list[SourceSnippet]]:
        for file in files:
            if file.path is not None and len(file.text) <= MAX_BYTES and self.may_read(file.path):
                name = _named(file.path, root)
                yield definitions(file.language, name, file.text) + portions(name, file.text)


def _named(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else Path(path.name)).as_posix()


@lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> str:
    """A file's text, empty if it is none; ``changed`` is its time, so that it is read anew."""
    del changed
    try:
        return with_lf(read_regular(path, MAX_BYTES).decode("utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""
