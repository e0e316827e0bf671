"""Checks on a document's file: may a model read it, can the user write it?

Reading ignore files may block, so the checks run in threads and not in the event loop.
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

from inference.text.ignore_rules import Patterns, ReportProblem, TooCostlyError, exclusion_reason, log_problem

log = logging.getLogger(__name__)

Private = Literal["secret", "ignored", "excluded", "unclear"]
"""Reason why a file must not reach a model: its name, an ignore file, the user's setting, or a check that failed."""

SECONDS = 5.0
"""Time limit of a check, earlier checks included."""

T = TypeVar("T")
_single_thread = ThreadPoolExecutor(1, thread_name_prefix="files")
"""One thread, so that checks finish in the order in which they were requested."""


def privacy(
    path: Path, workspaces: Sequence[Path], excluded: tuple[str, ...] = (), report: ReportProblem = log_problem
) -> Private | None:
    """Return why ``path`` must not reach a model, if so. Symbolic links are checked by both names.

    ``excluded`` are the user's own patterns, as in a .gitignore of the file's workspace. ``report`` is called with
    problems in an ignore file. This reads files and may take seconds: call it in a thread.
    """
    if "\0" in str(path):
        return "unclear"  # no file can have this name
    for name in dict.fromkeys((path, Path(os.path.realpath(path)))):
        if not name.name:
            continue  # ``file:///`` is the root folder
        root = _root(name, workspaces)
        if why := exclusion_reason(name, root, report):
            return why
        if why := _excluded(name.relative_to(root).as_posix(), excluded):
            return why
    return None


def is_read_only(path: Path) -> bool:
    """Return whether the file exists and the user cannot write it."""
    return path.exists() and not os.access(path, os.W_OK)


def repository(path: Path) -> Path:
    """Return the git repository that contains a file, else its folder."""
    return next((folder for folder in path.parents if (folder / ".git").exists()), path.parent)


async def check_privacy(
    path: Path, workspaces: Sequence[Path], excluded: tuple[str, ...], report: ReportProblem = log_problem
) -> Private | None:
    """Run ``privacy`` in the thread for files. A check that times out returns ``unclear``.

    ``report`` is called in the event loop.
    """
    problems: list[str] = []
    try:
        return await run_in_order(lambda: privacy(path, workspaces, excluded, problems.append))
    except TimeoutError:
        log.warning("The ignore files above %s were not checked within %g s.", path, SECONDS)
        return "unclear"
    finally:
        for problem in problems:
            report(problem)


async def run_in_order(work: Callable[[], T]) -> T:
    """Run ``work`` in the thread for files, after earlier calls. Raises TimeoutError."""
    async with asyncio.timeout(SECONDS):
        return await asyncio.get_running_loop().run_in_executor(_single_thread, work)


async def run_in_background_thread(work: Callable[[], T]) -> T:
    """Run long ``work`` in another thread, which no completion waits for. Raises TimeoutError."""
    async with asyncio.timeout(2 * SECONDS):
        return await asyncio.to_thread(work)


def _root(path: Path, workspaces: Sequence[Path]) -> Path:
    """Return the outermost folder whose ignore files apply: the git repository or the workspace of a file."""
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
