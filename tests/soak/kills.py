"""Kill engines and servers with SIGKILL while users type, and check that sessions recover."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from soak.typing_user import TypingUser, endless
from support.e2e_window import Window
from support.engine_processes import marked, statistics
from support.waiting import until

from inference.api.crash_report import MOST_DEATHS
from inference.text.source_files import SourceFile
from lsp_server.benchmark.editing_trace import TraceRequest

MOMENT = 0.2, 3.0
"""Seconds from one recovery to the next kill."""

AGAIN, LOADING = 0.2, (0.0, 1.5)
"""Probability that the next engine is killed while it loads, and the seconds after its start."""


@dataclass(frozen=True)
class Kill:
    """One killed engine.

    Attributes:
        loading: it was still loading.
        pending: requests without a response at that time.
        recovered: seconds until all sessions had another engine; None if that was killed before.
    """

    loading: bool
    pending: int
    recovered: float | None


@dataclass(frozen=True)
class KnownCompletion:
    """A request and the items from an undisturbed engine."""

    request: TraceRequest
    items: list[tuple[str, tuple[int, int, int, int]]]


async def undisturbed(alone: Window, files: Sequence[SourceFile], count: int) -> list[KnownCompletion]:
    """Return requests with completions, each in its own document, from one session alone."""
    user, known = TypingUser(alone, files, Random(0), cancels=False), []
    for n, request in enumerate(endless(files, Random(11))):
        if len(known) == count:
            break
        asked = replace(request, document=f"known{n}/{Path(request.document).name}")
        if items := await user.look(asked):
            known.append(KnownCompletion(asked, items))
    return known


async def kill_engines(
    runtime: Path, users: Sequence[TypingUser], known: Sequence[KnownCompletion], dice: Random
) -> tuple[list[Kill], list[str]]:
    """Kill an engine for each of ``known``, and request it when all sessions have another engine.

    Returns the kills and the wrong completions. Engines are not killed while loading so often in a row that the server
    stops starting them.
    """
    kills, wrong, loading, in_a_row = [], [], False, 0
    for n, one in enumerate(known, 1):
        await asyncio.sleep(dice.uniform(*(LOADING if loading else MOMENT)))
        pending, old, started = sum(user.pending for user in users), marked(runtime), time.monotonic()
        os.kill(old, signal.SIGKILL)
        again = n < len(known) and in_a_row < MOST_DEATHS - 1 and dice.random() < AGAIN
        in_a_row = in_a_row + 1 if again else 0
        await (another_begins(runtime, old) if again else all_have_another(users, old))
        kills.append(Kill(loading, pending, None if again else time.monotonic() - started))
        loading = again
        if not again:
            told = await asyncio.gather(*(user.look(one.request) for user in users))
            wrong += [f"after kill {n}: {items} instead of {one.items}" for items in told if items != one.items]
    return kills, wrong


async def another_begins(runtime: Path, old: int) -> None:
    await until(lambda: marked(runtime) not in (0, old), 60)


async def all_have_another(users: Sequence[TypingUser], old: int) -> None:
    """Wait until every session reports an engine other than ``old`` as ready."""

    def ready(status) -> bool:
        return status.phase == "ready" and status.pid != old

    await until(lambda: all(ready(user.window.statuses[-1]) for user in users), 120)


async def kill_server(user: TypingUser) -> None:
    server = user.window.client._server
    assert server is not None
    os.kill(user.window.pid, signal.SIGKILL)
    await user.leave()
    await asyncio.wait_for(server.wait(), 10)


async def settled(runtime: Path, windows: int) -> None:
    """Wait until the engine has this many leases and no requests."""
    wanted = {"windows": windows, "requests": {"open": 0, "waiting": 0}}
    async with asyncio.timeout(30):
        while {name: (await statistics(runtime))[name] for name in wanted} != wanted:
            await asyncio.sleep(0.05)
