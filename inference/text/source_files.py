"""Whether a file of code was written by a person or by a program. Knows no folders and no languages.

Which files of a folder are a person's own code, and may be read and learnt from.

Torch-free; knows no model. What is ignored, secret, generated, minified or a copy of another file is left out, and
counted by its reason, so that a person can be told.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from inference.system.files import read_regular
from inference.text.ignore_rules import SECRET, IgnoreRules, constant_patterns
from inference.text.languages import language_of

_HEAD = 1200
_MARKS = re.compile(
    r"@generated\b|\bdo not (?:edit|modify)\b|\b(?:auto|machine|automatically)[- ]?generated\b|"
    r"^\W*(?:(?:this )?(?:file|code|source|module) (?:was |is |has been )?)?generated (?:by|from|with|using)\b",
    re.IGNORECASE | re.MULTILINE,
)
_NAMES = re.compile(
    r"(?:_pb2(?:_grpc)?\.pyi?|\.pb\.(?:cc|go|h)|\.min\.\w+|\.bundle\.\w+|\.g\.(?:cs|dart)|\.designer\.cs|\.d\.[mc]?ts|"
    r"[._-]lock\.\w+|parser\.c|_?version\.py)$",
    re.IGNORECASE,
)
_LONG_LINE = 600
_MEAN_LINE = 110
_FEW = 2000
"""Characters in which a few long lines of prose say nothing."""


def is_generated(name: str, text: str) -> bool:
    """By the file's name, or by what its first comment says."""
    return bool(_NAMES.search(name) or _MARKS.search(text[:_HEAD]))


def is_minified(text: str) -> bool:
    """Lines that no person would write: one very long, or all of them long."""
    lines = text.splitlines() or [""]
    return max(map(len, lines)) > _LONG_LINE or (len(text) > _FEW and len(text) / len(lines) > _MEAN_LINE)


MAX_BYTES = 400_000
"""Files above are data or generated; editors ask for completions in shorter ones."""
MIN_CHARACTERS = 80
"""Files below hold nothing to learn: package markers, re-exports."""

_TOOLS_FOLDERS = (
    ".git .hg .svn node_modules bower_components __pycache__ .venv venv .tox .nox .mypy_cache .ruff_cache "
    ".pytest_cache site-packages dist build out target vendor third_party .idea .vscode coverage"
)
NOT_YOURS = constant_patterns(f"{name}/" for name in _TOOLS_FOLDERS.split())
"""Folders that tools fill: dependencies, build results, caches."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of code. ``name`` is its path relative to its root, with slashes; ``text`` has its own line endings."""

    name: str
    language: str
    text: str


@dataclass(slots=True)
class Sources:
    """What was read, by name, and how many files were left out for which reason."""

    files: list[SourceFile] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def read_sources(roots: Sequence[Path], known: Sequence[SourceFile] = ()) -> Sources:
    """All code below ``roots`` (folders, or single files), without copies of itself or of ``known``.

    A copy is a file of which at least seven tenths of the telling lines stood in files read before. Symbolic links are
    not followed. Raises FileNotFoundError for a root that is not there.
    """
    sources, copies = Sources(), _Copies()
    for file in known:
        copies.add(file.text)
    for root in roots:
        if not root.exists():
            raise FileNotFoundError(f"There is no file or folder {root}.")
        for path, name in _listed(root, sources.skipped):
            _take(path, name, sources, copies)
    return sources


def _take(path: Path, name: str, sources: Sources, copies: _Copies) -> None:
    language = language_of(path)
    if language is None:
        return
    text = _text(path)
    reason = "empty, huge or no text" if text is None else _unfit(name, text, copies)
    if text is None or reason:
        sources.skipped[reason or ""] += 1
    else:
        copies.add(text)
        sources.files.append(SourceFile(name, language, text))


def _unfit(name: str, text: str, copies: _Copies) -> str | None:
    if is_generated(name, text):
        return "generated"
    if is_minified(text):
        return "minified"
    return "copies" if copies.holds(text) else None


def _text(path: Path) -> str | None:
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return None if "\0" in text or len(text.strip()) < MIN_CHARACTERS else text.removeprefix("\ufeff")


def _listed(root: Path, skipped: Counter[str]) -> Iterator[tuple[Path, str]]:
    """(path, name) of every file that no rule of its name leaves out, in order."""
    if root.is_file():
        yield root, root.name
        return
    ignored = IgnoreRules(root)
    for folder, folders, names in os.walk(root):
        here = PurePosixPath(Path(folder).relative_to(root).as_posix())
        ignored.enter(here)
        folders[:] = sorted(name for name in folders if not _left_out(f"{here / name}/", ignored, Counter()))
        for name in sorted(names):
            path = Path(folder) / name
            if not path.is_symlink() and not _left_out(str(here / name), ignored, skipped):
                yield path, str(here / name)


def _left_out(name: str, ignored: IgnoreRules, skipped: Counter[str]) -> bool:
    rules = (("dependencies and build results", NOT_YOURS), ("secret", SECRET))
    reason = next((reason for reason, rule in rules if rule.match_file(name)), None)
    reason = reason or ignored.why(name)
    if reason:
        skipped[reason] += 1
    return reason is not None


class _Copies:
    """The telling lines of all files so far, to know a copy by."""

    SHARE = 0.7

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def holds(self, text: str) -> bool:
        lines = self._lines(text)
        return bool(lines) and sum(line in self._seen for line in lines) >= self.SHARE * len(lines)

    def add(self, text: str) -> None:
        self._seen |= self._lines(text)

    @staticmethod
    def _lines(text: str) -> set[int]:
        """Lines long enough to tell files apart, whatever their indentation."""
        return {hash(line) for line in map(str.strip, text.splitlines()) if len(line) >= 16}
