"""Which files a trace is made from: a folder of the person's, or sources that installed packages ship.

Knows no trace. The choice among installed packages is the same wherever the same versions are installed.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import files as files_of
from itertools import zip_longest
from pathlib import Path

from inference.text.languages import language_of
from inference.text.source_files import SourceFile, read_sources

PACKAGES = ("httpx", "markupsafe", "numpy", "pygls", "rich", "starlette", "torch", "torchgen", "urllib3", "uvicorn")
"""Dependencies of ours; torch ships C++, numpy C, urllib3 JavaScript. Those that are not installed are passed over."""
PER_LANGUAGE = 12
SMALLEST, LARGEST = 3_000, 60_000
"""Bytes: files of which a person would have one open in an editor."""


class NoFilesError(ValueError):
    """There is nothing to make a trace from; the message says what to choose."""


def files_for_trace(folder: Path | None, seed: int = 0) -> list[SourceFile]:
    """Files of several languages, in turn. Raises ``NoFilesError``."""
    return source_files([folder] if folder else [], seed)


def source_files(folders: Sequence[Path], seed: int = 0, per_language: int = PER_LANGUAGE) -> list[SourceFile]:
    """All in these folders or, without any, some that packages ship; of several languages, in turn.

    Raises ``NoFilesError``.
    """
    try:
        found = read_sources(folders or _installed(random.Random(seed), per_language)).files
    except FileNotFoundError as error:
        raise NoFilesError(str(error)) from error
    if not found:
        where = " and ".join(map(str, folders)) or "the installed packages"
        raise NoFilesError(f"There is no source code in {where}; choose another folder.")
    return in_turn(found)


def in_turn(files: list[SourceFile]) -> list[SourceFile]:
    """One file of each language after the other; names become unique."""
    by_language: Mapping[str, list[SourceFile]] = defaultdict(list)
    for n, file in enumerate(files):
        by_language[file.language].append(SourceFile(f"{n}/{file.name}", file.language, file.text))
    rounds = zip_longest(*(by_language[language] for language in sorted(by_language)))
    return [file for turn in rounds for file in turn if file]


def _installed(dice: random.Random, per_language: int) -> list[Path]:
    """Paths of files that packages ship, a few of each language."""
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
