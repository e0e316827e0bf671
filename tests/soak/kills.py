"""Kill engines and language servers with `kill -9` while simulated typists use them, and measure the recovery."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from soak.typist import SimulatedTypist, endless
from support.editor_session import EditorSession
from support.engine_processes import marked, statistics
from support.waiting import until

from inference.client.crash_report import MAX_FAILED_STARTS
from inference.text.source_files import SourceFile
from lsp_server.benchmark.editing_trace import TraceRequest

PAUSE = 0.2, 3.0
"""Range of seconds from one recovery to the next kill."""

KILL_LOADING_SHARE, LOADING = 0.2, (0.0, 1.5)
"""Share of engines that are killed while they load, and the range of seconds from their start to the kill."""


@dataclass(frozen=True)
class Kill:
    """One killed engine.

    Attributes:
        loading: it was loading.
        pending: requests without a response at that time.
        recovered: seconds until all editors had another engine; None if that was killed before.
    """

    loading: bool
    pending: int
    recovered: float | None


@dataclass(frozen=True)
class ExpectedCompletion:
    """A request and its items from an undisturbed engine."""

    request: TraceRequest
    items: list[tuple[str, tuple[int, int, int, int]]]


async def undisturbed_completions(
    editor: EditorSession, files: Sequence[SourceFile], count: int
) -> list[ExpectedCompletion]:
    """Return ``count`` requests with items, each in its own document, while no other editor is connected."""
    typist, known = SimulatedTypist(editor, files, Random(0), cancels=False), []
    for n, request in enumerate(endless(files, Random(11))):
        if len(known) == count:
            break
        sent = replace(request, document=f"known{n}/{Path(request.document).name}")
        if items := await typist.complete(sent):
            known.append(ExpectedCompletion(sent, items))
    return known


async def kill_engines(
    runtime: Path, typists: Sequence[SimulatedTypist], known: Sequence[ExpectedCompletion], dice: Random
) -> tuple[list[Kill], list[str]]:
    """Kill one engine per ``known`` request. Return the kills and descriptions of wrong completions.

    The request is sent when all editors have another engine. Fewer than MAX_FAILED_STARTS loading engines are killed
    in a row, because no further one would be started.
    """
    kills, wrong, loading, in_a_row = [], [], False, 0
    for n, one in enumerate(known, 1):
        await asyncio.sleep(dice.uniform(*(LOADING if loading else PAUSE)))
        pending, old, started = sum(typist.pending for typist in typists), marked(runtime), time.monotonic()
        os.kill(old, signal.SIGKILL)
        again = n < len(known) and in_a_row < MAX_FAILED_STARTS - 1 and dice.random() < KILL_LOADING_SHARE
        in_a_row = in_a_row + 1 if again else 0
        await (another_begins(runtime, old) if again else all_have_another(typists, old))
        kills.append(Kill(loading, pending, None if again else time.monotonic() - started))
        loading = again
        if not again:
            completions = await asyncio.gather(*(typist.complete(one.request) for typist in typists))
            wrong += [f"after kill {n}: {items} instead of {one.items}" for items in completions if items != one.items]
    return kills, wrong


async def another_begins(runtime: Path, old: int) -> None:
    await until(lambda: marked(runtime) not in (0, old), 60)


async def all_have_another(typists: Sequence[SimulatedTypist], old: int) -> None:
    """Wait until every editor reports that an engine other than ``old`` is ready."""

    def ready(status) -> bool:
        return status.phase == "ready" and status.pid != old

    await until(lambda: all(ready(typist.window.statuses[-1]) for typist in typists), 120)


async def kill_server(typist: SimulatedTypist) -> None:
    server = typist.window.client._server
    assert server is not None
    os.kill(typist.window.pid, signal.SIGKILL)
    await typist.abandon()
    await asyncio.wait_for(server.wait(), 10)


async def settled(runtime: Path, editors: int) -> None:
    """Wait until the engine reports ``editors`` leases and no requests."""
    wanted = {"windows": editors, "requests": {"open": 0, "waiting": 0}}
    async with asyncio.timeout(30):
        while {name: (await statistics(runtime))[name] for name in wanted} != wanted:
            await asyncio.sleep(0.05)
