"""Cross-file context: rank snippets from imports, recently edited regions and open files for one request.

Sources that exceed the time budget are left out. The snippets stay the same while the user types on in one place, so
that the engine can reuse its KV cache. Private files are never read.
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
from inference.text.snippets import SourceSnippet, definitions, rank_snippets, split_file
from inference.text.source_files import MAX_BYTES
from lsp_server.context.imports import imported
from lsp_server.snapshot import Snapshot, with_lf

MAX_REGIONS = 16
REGION_LINES = 12
"""Lines of a region above and below the cursor."""
MAX_MOVE = 32
"""Lines that the cursor may move within a region."""

SECONDS = 0.05
MAX_SNIPPETS = 400
REUSE_LINES, REUSE_SECONDS = 12, 5.0
"""The last snippets are reused if the cursor moved no further, the pause was no longer, and no other file changed."""


@dataclass(frozen=True, slots=True)
class Region:
    """Lines of the document ``uri`` around ``line``."""

    uri: str
    line: int
    text: str


@dataclass
class Recent:
    """The regions in which the user worked last, newest first. A region is added when the user moves to another."""

    regions: deque[Region] = field(default_factory=lambda: deque(maxlen=MAX_REGIONS))
    _current: Region | None = None

    def visit(self, uri: str, line: int, text: str) -> None:
        """Record that the cursor is at ``line`` of a document with this ``text``."""
        current = self._current
        if current is not None and (current.uri != uri or abs(current.line - line) > MAX_MOVE):
            self._add(current)
        lines = text.split("\n")
        self._current = Region(uri, line, "\n".join(lines[max(line - REGION_LINES, 0) : line + REGION_LINES + 1]))

    def forget(self, uri: str) -> None:
        """Forget the regions of a closed document."""
        self.regions = deque((region for region in self.regions if region.uri != uri), maxlen=MAX_REGIONS)
        if self._current is not None and self._current.uri == uri:
            self._current = None

    def _add(self, region: Region) -> None:
        """Add a region and remove those that overlap it."""
        others = [old for old in self.regions if old.uri != region.uri or abs(old.line - region.line) > REGION_LINES]
        self.regions = deque([region, *others][:MAX_REGIONS], maxlen=MAX_REGIONS)


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A document that is open in the editor; ``path`` is None if it has no file."""

    uri: str
    path: Path | None
    language: str
    text: str


@dataclass
class _LastSnippets:
    line: int
    used: float
    others: tuple[tuple[str, str], ...]
    snippets: tuple[Snippet, ...]

    def is_valid(self, line: int, now: float, others: tuple[tuple[str, str], ...]) -> bool:
        near = abs(self.line - line) <= REUSE_LINES and now - self.used <= REUSE_SECONDS
        return near and self.others == others


@dataclass
class CrossFileCollector:
    """Collects the cross-file context of one editor session.

    Attributes:
        may_read: returns whether a file may reach a model. Ignored and secret files may not.
    """

    may_read: Callable[[Path], bool]
    recent: Recent = field(default_factory=Recent)
    clock: Callable[[], float] = time.perf_counter
    _last: dict[str, _LastSnippets] = field(default_factory=dict)

    def snippets(
        self, snapshot: Snapshot, window: str, files: Sequence[OpenFile], root: Path, limit: int
    ) -> tuple[Snippet, ...]:
        """Return snippets of at most ``limit`` characters in total, the most relevant first.

        ``window`` is the text around the cursor that the prompt has anyway. ``files`` are the open documents, the
        snapshot's own included. The snippets' paths are relative to ``root``.
        """
        now, last = self.clock(), self._last
        self.recent.visit(snapshot.uri, snapshot.line, snapshot.before + snapshot.after)
        old = last.get(snapshot.uri)
        others = tuple((file.uri, file.text) for file in files if file.uri != snapshot.uri)
        if old and old.is_valid(snapshot.line, now, others):
            old.used = now
            return old.snippets
        candidates = self._candidates(snapshot, files, root, now + SECONDS)
        chosen = rank_snippets(snapshot.before, snapshot.right, window, candidates, limit)
        if self._last is last:  # not invalidated meanwhile: this runs in a thread
            self._last = {snapshot.uri: _LastSnippets(snapshot.line, now, others, chosen)}
        return chosen

    def forget(self, uri: str) -> None:
        """Forget a closed document."""
        self.recent.forget(uri)
        self._last = {}

    def invalidate(self) -> None:
        """Discard the last snippets after a change of the settings."""
        self._last = {}

    def _candidates(
        self, snapshot: Snapshot, files: Sequence[OpenFile], root: Path, until: float
    ) -> list[SourceSnippet]:
        """Collect snippets from each source in turn until the time is up."""
        candidates: list[SourceSnippet] = []
        for source in (
            self._from_imports(snapshot, files, root),
            self._from_recent(files, root),
            self._from_open_files(files, root),
        ):
            for found in source:
                candidates += found
                if self.clock() > until or len(candidates) >= MAX_SNIPPETS:
                    return candidates[:MAX_SNIPPETS]
        return candidates

    def _from_imports(self, snapshot: Snapshot, files: Sequence[OpenFile], root: Path) -> Iterator[list[SourceSnippet]]:
        """Yield the definitions in the files that the document imports."""
        here = next((file for file in files if file.uri == snapshot.uri), None)
        if here is None or here.path is None:
            return
        edited = {file.path: file.text for file in files}
        for path in imported(here.language, here.text, here.path, root):
            if self.may_read(path):
                text = edited.get(path) or _read(path, path.stat().st_mtime_ns)
                yield definitions(language_of(path) or "", _relative_name(path, root), text)

    def _from_recent(self, files: Sequence[OpenFile], root: Path) -> Iterator[list[SourceSnippet]]:
        """Yield the regions in which the user worked last."""
        paths = {file.uri: file.path for file in files}
        for region in self.recent.regions:
            path = paths.get(region.uri)
            if path is not None and self.may_read(path):
                yield [SourceSnippet(_relative_name(path, root), region.text)]

    def _from_open_files(self, files: Sequence[OpenFile], root: Path) -> Iterator[list[SourceSnippet]]:
        for file in files:
            if file.path is not None and len(file.text) <= MAX_BYTES and self.may_read(file.path):
                name = _relative_name(file.path, root)
                yield definitions(file.language, name, file.text) + split_file(name, file.text)


def _relative_name(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else Path(path.name)).as_posix()


@lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> str:
    """Return a file's text, empty if it cannot be read. ``changed`` is its modification time, for the cache key."""
    del changed
    try:
        return with_lf(read_regular(path, MAX_BYTES).decode("utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""
