"""Run what reads the disk in threads, so that no file system and no ignore file holds up the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from inference.text.ignored import Report, log_problem
from lsp_server.completion.gate import Private
from lsp_server.files import privacy

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
