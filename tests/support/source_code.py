"""Real source code of every test environment, split at random positions."""

from __future__ import annotations

import random
import sysconfig
from functools import cache
from pathlib import Path
from typing import NamedTuple

SUFFIXES = (".py", ".pyi", ".js", ".ts", ".c", ".h", ".cpp", ".hpp", ".java", ".css", ".html")
LARGEST = 200_000


class Split(NamedTuple):
    """Text before a cursor, and text some characters after it."""

    prefix: str
    suffix: str


def random_splits(count: int, seed: int, longest: int = 1500) -> list[Split]:
    """Split random files at random positions; both sides have at most ``longest`` characters."""
    choose = random.Random(seed)
    files = _files()
    splits = []
    while len(splits) < count:
        text = _read(choose.choice(files))
        start = choose.randint(0, len(text))
        cursor = min(start + choose.randint(0, longest), len(text))
        after = min(cursor + choose.choice([0, 0, choose.randint(0, 200)]), len(text))
        splits.append(Split(text[start:cursor], text[after : after + choose.randint(0, longest)]))
    return splits


@cache
def _files() -> list[Path]:
    """Return at most 400 files of each language, so that rare languages count."""
    folders = {Path(sysconfig.get_paths()[name]) for name in ("stdlib", "purelib", "include")}
    found = sorted({path for folder in folders for path in folder.rglob("*") if path.suffix in SUFFIXES})
    choose = random.Random(0)
    kept: list[Path] = []
    for suffix in SUFFIXES:
        of_language = [path for path in found if path.suffix == suffix and 0 < path.stat().st_size <= LARGEST]
        kept += choose.sample(of_language, min(400, len(of_language)))
    return kept


@cache
def _read(path: Path) -> str:
    """Read a file with its own line endings; the standard library has test files in other encodings."""
    return path.read_bytes().decode("utf-8", errors="replace")
