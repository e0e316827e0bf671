"""What the disk says of a document's file: may it be read, can it be written? Knows no LSP, and looks at no text.

Run what reads the disk in threads, so that no file system and no ignore file holds up the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

from inference.text.ignore_rules import Patterns, Report, TooCostlyError, log_problem, why_private
from lsp_server.completion.gate import Private


def privacy(
    path: Path, workspaces: Sequence[Path], excluded: tuple[str, ...] = (), report: Report = log_problem
) -> Private | None:
    """Return why ``path`` must not reach a model, if so, by the name it is opened under or the one it has behind links.

    ``excluded`` are a person's own patterns, as in a .gitignore of the file's workspace. ``report`` is told what is
    wrong with an ignore file. This reads files and may take seconds: call it in a thread (``off_loop``).
    """
    if "\0" in str(path):
        return "unclear"  # no file can have this name
    for named in dict.fromkeys((path, Path(os.path.realpath(path)))):
        if not named.name:
            continue  # ``file:///``: the root folder, and no file
        root = _root(named, workspaces)
        if why := why_private(named, root, report):
            return why
        if why := _excluded(named.relative_to(root).as_posix(), excluded):
            return why
    return None


def is_read_only(path: Path) -> bool:
    """True of a file that is there and that this user can't write."""
    return path.exists() and not os.access(path, os.W_OK)


def repository(path: Path) -> Path:
    """The repository a file lies in; else its folder."""
    return next((folder for folder in path.parents if (folder / ".git").exists()), path.parent)


def _root(path: Path, workspaces: Sequence[Path]) -> Path:
    """The outermost of what has a say in what is ignored: the git repository and the workspace a file lies in."""
    around = [folder for folder in workspaces if path.is_relative_to(folder) and path != folder]
    around += [folder for folder in [repository(path)] if (folder / ".git").exists()]
    return min(around, key=lambda folder: len(folder.parts), default=path.parent)


def _excluded(name: str, patterns: tuple[str, ...]) -> Literal["excluded", "unclear"] | None:
    try:
        return "excluded" if _parsed(patterns).verdict(name) else None
    except TooCostlyError:
        return "unclear"


@lru_cache(maxsize=8)
def _parsed(patterns: tuple[str, ...]) -> Patterns:
    return Patterns.parse(patterns)


log = logging.getLogger(__name__)

SECONDS = 5.0
"""Time limit, waiting for earlier work included."""

T = TypeVar("T")
_in_order = ThreadPoolExecutor(1, thread_name_prefix="files")
"""One thread: what is asked first is answered first."""


async def in_order(work: Callable[[], T]) -> T:
    """Run ``work`` in the thread for files. Raises TimeoutError."""
    async with asyncio.timeout(SECONDS):
        return await asyncio.get_running_loop().run_in_executor(_in_order, work)


async def beside(work: Callable[[], T]) -> T:
    """Run ``work``, which may be longer, in a thread that no completion waits for. Raises TimeoutError."""
    async with asyncio.timeout(2 * SECONDS):
        return await asyncio.to_thread(work)


async def checked(
    path: Path, workspaces: Sequence[Path], excluded: tuple[str, ...], report: Report = log_problem
) -> Private | None:
    """Return why ``path`` must not reach a model (``privacy``); a check without an answer in time is a reason too.

    ``report`` is called in the event loop.
    """
    problems: list[str] = []
    try:
        return await in_order(lambda: privacy(path, workspaces, excluded, problems.append))
    except TimeoutError:
        log.warning("the ignore files above %s were not checked in %g s", path, SECONDS)
        return "unclear"
    finally:
        for problem in problems:
            report(problem)
