"""From open files, imports and recent places to a few ranked chunks for one request. Knows no LSP types.

Within a time budget: a source that comes late is left out. What was gathered stays the same while the person types on
at one place, or the engine would have to read its prompt anew. No file is read that may not be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from inference.text.context import ContextChunk
from inference.text.excerpts import Piece, definitions, portions
from inference.text.languages import language_of
from inference.text.regular_files import read_regular
from inference.text.relevance import choose
from inference.text.source import MAX_BYTES
from lsp_server.context.imports import imported
from lsp_server.context.recent import Recent
from lsp_server.snapshot import Snapshot, with_lf

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
    chunks: tuple[ContextChunk, ...]

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
    ) -> tuple[ContextChunk, ...]:
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

    def _pieces(self, snapshot: Snapshot, files: Sequence[OpenFile], root: Path, until: float) -> list[Piece]:
        """Of every source in turn, as long as there is time."""
        pieces: list[Piece] = []
        for source in (self._imports(snapshot, files, root), self._left(files, root), self._open(files, root)):
            for found in source:
                pieces += found
                if self.clock() > until or len(pieces) >= MOST_PIECES:
                    return pieces[:MOST_PIECES]
        return pieces

    def _imports(self, snapshot: Snapshot, files: Sequence[OpenFile], root: Path) -> Iterator[list[Piece]]:
        """What the files define that the document imports."""
        here = next((file for file in files if file.uri == snapshot.uri), None)
        if here is None or here.path is None:
            return
        edited = {file.path: file.text for file in files}
        for path in imported(here.language, here.text, here.path, root):
            if self.may_read(path):
                text = edited.get(path) or _read(path, path.stat().st_mtime_ns)
                yield definitions(language_of(path) or "", _named(path, root), text)

    def _left(self, files: Sequence[OpenFile], root: Path) -> Iterator[list[Piece]]:
        """Where the person was before."""
        paths = {file.uri: file.path for file in files}
        for region in self.recent.regions:
            path = paths.get(region.uri)
            if path is not None and self.may_read(path):
                yield [Piece(_named(path, root), region.text)]

    def _open(self, files: Sequence[OpenFile], root: Path) -> Iterator[list[Piece]]:
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
