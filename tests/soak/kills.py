"""Ends engines and servers under people at work by `kill -9`, and sees what becomes of who needed them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from soak.person import Person, endless
from support.e2e_window import Window
from support.engine_processes import marked, statistics
from support.waiting import until

from inference.client.crash_report import MOST_DEATHS
from inference.text.source_files import SourceFile
from lsp_server.benchmark.editing_trace import TraceRequest

MOMENT = 0.2, 3.0
"""Seconds from one recovery to the next kill."""

AGAIN, LOADING = 0.2, (0.0, 1.5)
"""How often the next engine is killed as it starts and loads, and how many seconds after it began."""


@dataclass(frozen=True)
class Kill:
    """One engine killed.

    Attributes:
        loading: it had just begun.
        under_way: requests that waited for an answer then.
        recovered: seconds until all windows had another; None where that was killed before.
    """

    loading: bool
    under_way: int
    recovered: float | None


@dataclass(frozen=True)
class Known:
    """A request and what an undisturbed engine answers."""

    request: TraceRequest
    items: list[tuple[str, tuple[int, int, int, int]]]


async def undisturbed(alone: Window, files: Sequence[SourceFile], count: int) -> list[Known]:
    """What one window is told while nobody else works: answers with something in them, each in its own document."""
    person, known = Person(alone, files, Random(0), cancels=False), []
    for n, request in enumerate(endless(files, Random(11))):
        if len(known) == count:
            break
        asked = replace(request, document=f"known{n}/{Path(request.document).name}")
        if items := await person.look(asked):
            known.append(Known(asked, items))
    return known


async def kill_engines(
    runtime: Path, people: Sequence[Person], known: Sequence[Known], dice: Random
) -> tuple[list[Kill], list[str]]:
    """Kill one engine for each of the ``known``, and ask that once all windows have another; what came wrong.

    Not so many in a row while they load that none is started any more.
    """
    kills, wrong, loading, in_a_row = [], [], False, 0
    for n, one in enumerate(known, 1):
        await asyncio.sleep(dice.uniform(*(LOADING if loading else MOMENT)))
        under_way, old, started = sum(person.under_way for person in people), marked(runtime), time.monotonic()
        os.kill(old, signal.SIGKILL)
        again = n < len(known) and in_a_row < MOST_DEATHS - 1 and dice.random() < AGAIN
        in_a_row = in_a_row + 1 if again else 0
        await (another_begins(runtime, old) if again else all_have_another(people, old))
        kills.append(Kill(loading, under_way, None if again else time.monotonic() - started))
        loading = again
        if not again:
            told = await asyncio.gather(*(person.look(one.request) for person in people))
            wrong += [f"after kill {n}: {items} instead of {one.items}" for items in told if items != one.items]
    return kills, wrong


async def another_begins(runtime: Path, old: int) -> None:
    await until(lambda: marked(runtime) not in (0, old), 60)


async def all_have_another(people: Sequence[Person], old: int) -> None:
    """Returns once an engine other than ``old`` is ready in every window's eyes."""

    def ready(status) -> bool:
        return status.phase == "ready" and status.pid != old

    await until(lambda: all(ready(person.window.statuses[-1]) for person in people), 120)


async def kill_server(person: Person) -> None:
    server = person.window.client._server
    assert server is not None
    os.kill(person.window.pid, signal.SIGKILL)
    await person.leave()
    await asyncio.wait_for(server.wait(), 10)


async def settled(runtime: Path, windows: int) -> None:
    """Returns once the engine knows of so many windows, and of nothing it has to do."""
    wanted = {"windows": windows, "requests": {"open": 0, "waiting": 0}}
    async with asyncio.timeout(30):
        while {name: (await statistics(runtime))[name] for name in wanted} != wanted:
            await asyncio.sleep(0.05)
