"""Read the user's own source files of a folder.

Secret, ignored, generated, minified and duplicate files are skipped, and counted by reason. Torch-free.
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

MAX_BYTES = 400_000
"""Larger files are data or generated."""
MIN_CHARACTERS = 80
"""Shorter files hold nothing to learn: package markers, re-exports."""

_TOOL_FOLDERS = (
    ".git .hg .svn node_modules bower_components __pycache__ .venv venv .tox .nox .mypy_cache .ruff_cache "
    ".pytest_cache site-packages dist build out target vendor third_party .idea .vscode coverage"
)
TOOL_FOLDERS = constant_patterns(f"{name}/" for name in _TOOL_FOLDERS.split())
"""Folders of dependencies, build results and caches."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A source file. ``name`` is its path relative to the root, with slashes; ``text`` keeps its line endings."""

    name: str
    language: str
    text: str


@dataclass(slots=True)
class Sources:
    """The files that were read, and the number of skipped files by reason."""

    files: list[SourceFile] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def read_sources(roots: Sequence[Path], known: Sequence[SourceFile] = ()) -> Sources:
    """Read all source files below ``roots`` (folders or single files), without duplicates among them or of ``known``.

    In a duplicate, at least 70 % of the distinctive lines occur in files read before. Symbolic links are not followed.
    Raises FileNotFoundError for a root that does not exist.
    """
    sources, seen = Sources(), _SeenLines()
    for file in known:
        seen.add(file.text)
    for root in roots:
        if not root.exists():
            raise FileNotFoundError(f"There is no file or folder {root}.")
        for path, name in _walk(root, sources.skipped):
            _add(path, name, sources, seen)
    return sources


def _add(path: Path, name: str, sources: Sources, seen: _SeenLines) -> None:
    language = language_of(path)
    if language is None:
        return
    text = _text(path)
    reason = "empty, too large or not text" if text is None else _skip_reason(name, text, seen)
    if text is None or reason:
        sources.skipped[reason or ""] += 1
    else:
        seen.add(text)
        sources.files.append(SourceFile(name, language, text))


def _skip_reason(name: str, text: str, seen: _SeenLines) -> str | None:
    if is_generated(name, text):
        return "generated"
    if is_minified(text):
        return "minified"
    return "copies" if seen.has_copy(text) else None


def _text(path: Path) -> str | None:
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return None if "\0" in text or len(text.strip()) < MIN_CHARACTERS else text.removeprefix("\ufeff")


def _walk(root: Path, skipped: Counter[str]) -> Iterator[tuple[Path, str]]:
    """Yield the path and name of every file whose name is not excluded, in order."""
    if root.is_file():
        yield root, root.name
        return
    ignored = IgnoreRules(root)
    for folder, folders, names in os.walk(root):
        here = PurePosixPath(Path(folder).relative_to(root).as_posix())
        ignored.enter(here)
        folders[:] = sorted(name for name in folders if not _skip(f"{here / name}/", ignored, Counter()))
        for name in sorted(names):
            path = Path(folder) / name
            if not path.is_symlink() and not _skip(str(here / name), ignored, skipped):
                yield path, str(here / name)


def _skip(name: str, ignored: IgnoreRules, skipped: Counter[str]) -> bool:
    rules = (("dependencies and build results", TOOL_FOLDERS), ("secret", SECRET))
    reason = next((reason for reason, rule in rules if rule.match_file(name)), None)
    reason = reason or ignored.why(name)
    if reason:
        skipped[reason] += 1
    return reason is not None


class _SeenLines:
    """The distinctive lines of all files so far, to detect duplicates."""

    DUPLICATE_SHARE = 0.7

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def has_copy(self, text: str) -> bool:
        lines = self._lines(text)
        return bool(lines) and sum(line in self._seen for line in lines) >= self.DUPLICATE_SHARE * len(lines)

    def add(self, text: str) -> None:
        self._seen |= self._lines(text)

    @staticmethod
    def _lines(text: str) -> set[int]:
        """Return hashes of the lines that are long enough to be distinctive, without indentation."""
        return {hash(line) for line in map(str.strip, text.splitlines()) if len(line) >= 16}


_HEAD_CHARACTERS = 1200
_GENERATED_MARKS = re.compile(
    r"@generated\b|\bdo not (?:edit|modify)\b|\b(?:auto|machine|automatically)[- ]?generated\b|"
    r"^\W*(?:(?:this )?(?:file|code|source|module) (?:was |is |has been )?)?generated (?:by|from|with|using)\b",
    re.IGNORECASE | re.MULTILINE,
)
_GENERATED_NAMES = re.compile(
    r"(?:_pb2(?:_grpc)?\.pyi?|\.pb\.(?:cc|go|h)|\.min\.\w+|\.bundle\.\w+|\.g\.(?:cs|dart)|\.designer\.cs|\.d\.[mc]?ts|"
    r"[._-]lock\.\w+|parser\.c|_?version\.py)$",
    re.IGNORECASE,
)
_MAX_LINE = 600
_MAX_MEAN_LINE = 110
_MIN_FOR_MEAN = 2000
"""Characters of the shortest file whose mean line length is checked; below, a few long lines of prose dominate it."""


def is_generated(name: str, text: str) -> bool:
    """Return True if the file name or a comment at the top says that a program wrote the file."""
    return bool(_GENERATED_NAMES.search(name) or _GENERATED_MARKS.search(text[:_HEAD_CHARACTERS]))


def is_minified(text: str) -> bool:
    """Return True if one line is very long, or the mean line is long."""
    lines = text.splitlines() or [""]
    return max(map(len, lines)) > _MAX_LINE or (len(text) > _MIN_FOR_MEAN and len(text) / len(lines) > _MAX_MEAN_LINE)
