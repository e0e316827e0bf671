"""Real source code that every test environment holds, cut at random places. Knows no tokenizer."""

from __future__ import annotations

import random
import sysconfig
from functools import cache
from pathlib import Path
from typing import NamedTuple

SUFFIXES = (".py", ".pyi", ".js", ".ts", ".c", ".h", ".cpp", ".hpp", ".java", ".css", ".html")
LARGEST = 200_000


class Split(NamedTuple):
    """A place in a file: what stands before the cursor and, some characters later, after it."""

    prefix: str
    suffix: str


def random_splits(count: int, seed: int, longest: int = 1500) -> list[Split]:
    """Cuts at random characters of random files; both sides at most ``longest`` characters long."""
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
    """Of each language as many files as there are, but no more than 400, so that the rarer ones count."""
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
    """With the file's own line endings; the standard library holds test files in other encodings."""
    return path.read_bytes().decode("utf-8", errors="replace")
