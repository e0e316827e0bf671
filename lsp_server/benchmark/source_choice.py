"""The source files of a trace: a folder of the user's, or sources that installed packages ship.

The choice among installed packages is the same wherever the same versions are installed.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import files as files_of
from itertools import zip_longest
from pathlib import Path

from inference.errors import CodeLlamaError
from inference.text.languages import language_of
from inference.text.source_files import SourceFile, read_sources

PACKAGES = ("httpx", "markupsafe", "numpy", "pygls", "rich", "starlette", "torch", "torchgen", "urllib3", "uvicorn")
"""Dependencies of ours; torch ships C++, numpy C, urllib3 JavaScript. Packages that are not installed are skipped."""
PER_LANGUAGE = 12
SMALLEST, LARGEST = 3_000, 60_000
"""Bytes of a file that users would edit."""


class NoFilesError(CodeLlamaError, ValueError):
    """No source files; the message says what to choose."""


def files_for_trace(folder: Path | None, seed: int = 0) -> list[SourceFile]:
    """Return files of several languages, in turn. Raises ``NoFilesError``."""
    return source_files([folder] if folder else [], seed)


def source_files(folders: Sequence[Path], seed: int = 0, per_language: int = PER_LANGUAGE) -> list[SourceFile]:
    """Return the files of these folders, else some of installed packages; several languages, in turn.

    Raises ``NoFilesError``.
    """
    try:
        found = read_sources(folders or _installed(random.Random(seed), per_language)).files
    except FileNotFoundError as error:
        raise NoFilesError(str(error)) from error
    if not found:
        where = " and ".join(map(str, folders)) or "the installed packages"
        raise NoFilesError(f"There is no source code in {where}. Choose another folder.")
    return interleave_languages(found)


def interleave_languages(files: list[SourceFile]) -> list[SourceFile]:
    """Interleave the languages, and make file names unique."""
    by_language: Mapping[str, list[SourceFile]] = defaultdict(list)
    for n, file in enumerate(files):
        by_language[file.language].append(SourceFile(f"{n}/{file.name}", file.language, file.text))
    rounds = zip_longest(*(by_language[language] for language in sorted(by_language)))
    return [file for turn in rounds for file in turn if file]


def _installed(dice: random.Random, per_language: int) -> list[Path]:
    """Return paths of a few files of each language from installed packages."""
    by_language: Mapping[str, list[Path]] = defaultdict(list)
    for package in PACKAGES:
        for path in _shipped(package):
            language = language_of(path)
            if language:
                by_language[language].append(path)
    return [path for paths in by_language.values() for path in _some(paths, dice, per_language)]


def _some(paths: list[Path], dice: random.Random, count: int) -> list[Path]:
    dice.shuffle(paths)
    fitting = (path for path in paths if path.is_file() and SMALLEST <= path.stat().st_size <= LARGEST)
    return [path for path, _ in zip(fitting, range(count), strict=False)]


def _shipped(package: str) -> list[Path]:
    try:
        return sorted(Path(str(file.locate())) for file in files_of(package) or ())
    except PackageNotFoundError:
        return []
