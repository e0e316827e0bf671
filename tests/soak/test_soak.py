"""All day in a minute: windows typing on one engine, then engines and servers killed under them.

The short form is a test like any other; `make soak`, the long one, takes half an hour and leaves its figures.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from lsprotocol import types
from soak.figures import of_kills, of_typing, slowest, spread, tell
from soak.kills import kill_engines, kill_server, settled, undisturbed
from soak.person import Person
from soak.watch import growth, watched
from support.e2e_window import window
from support.engine_processes import engines, gone, has_torch, statistics

from inference.text.source_files import SourceFile
from lsp_server.benchmark.source_choice import files_for_trace

pytestmark = [pytest.mark.starter, pytest.mark.slow]

FILES_EACH = 4

LARGEST_FILE = 10_000
"""Characters: what a server remembers of larger ones would still be filling up when memory is to be flat."""


@dataclass(frozen=True)
class Form:
    """How much.

    Attributes:
        windows: at work at once.
        seconds: of undisturbed typing.
        kills: of engines.
        growth: by what share a process may grow in the second half; in a minute, caches still fill.
        unfair: how many times longer the p95 of one window may be than another's; a minute has few samples.
    """

    windows: int
    seconds: float
    kills: int
    growth: float
    unfair: float


FORMS = {
    "short": Form(4, 18, 5, growth=0.15, unfair=5.0),
    "long": Form(8, 600, 50, growth=0.02, unfair=2.5),
}
FORM = FORMS[os.environ.get("SOAK", "short")]
SETTINGS = {
    # room for what one place of each window has read: it is full soon, and memory can be seen to stay flat
    "engine": {"graceSeconds": 2, "context": 512 * FORM.windows},
    # two cores read a prompt of the usual size in four seconds: with shorter ones more happens
    "completion": {"prefetch": True, "deadlineMs": 20_000, "prefixChars": 300, "suffixChars": 150},
}


@pytest.fixture(autouse=True)
def _starter(starter_folder: Path, runtime: Path) -> None:
    """Real weights, and a runtime folder of this test's own."""


@pytest.fixture(scope="module")
def files() -> list[SourceFile]:
    """ASCII, so that a column is the same number in all position encodings."""
    return [file for file in files_for_trace(None) if file.text.isascii() and len(file.text) <= LARGEST_FILE]


@asynccontextmanager
async def people_at_work(files: Sequence[SourceFile]) -> AsyncIterator[list[Person]]:
    """Each with a window and files of their own; every other editor cancels at each key."""
    editors = [("vscode", "neovim")[n % 2] for n in range(FORM.windows)]
    async with AsyncExitStack() as stack:
        opening = [stack.enter_async_context(window(editor, SETTINGS)) for editor in editors]
        windows = await asyncio.gather(*opening)
        yield [
            Person(one, Random(n).sample(files, FILES_EACH), Random(n), cancels=editor == "vscode")
            for n, (one, editor) in enumerate(zip(windows, editors, strict=True))
        ]


async def test_windows_typing_at_once_share_one_engine_fairly_and_memory_stays_flat(runtime, files):
    """Every request is answered or cancelled. One engine, the same all the time: weights are in memory once."""
    async with people_at_work(files) as people:
        servers = [person.window.pid for person in people]
        async with watched(lambda: [*servers, *(engine.pid for engine in engines(runtime))]) as memory:
            for person in people:
                person.sit_down()
            await asyncio.sleep(FORM.seconds)
        for person in people:
            await person.rest()
        stats, traces = await statistics(runtime), [await person.window.trace() for person in people]
        tell([f"settings: {json.dumps(SETTINGS)}", *of_typing(people, memory, stats, FORM.seconds)])
        assert unsettled(people) == []
        assert troubles(people) == []
        assert set(memory) - set(servers) == {stats["engine"]["pid"]}
        assert not any(map(has_torch, servers))
        assert [record["reason"] for trace in traces for record in trace if record["result"] == "failed"] == []
        assert {pid: growth(samples) for pid, samples in memory.items() if growth(samples) > FORM.growth} == {}
        assert spread([slowest(person) for person in people]) < FORM.unfair


async def test_engines_killed_under_load_come_back_right_and_killed_servers_leave_nothing(runtime, files):
    """No window shows an error, no request hangs, and the next completion is what an undisturbed engine says."""
    async with people_at_work(files) as people:
        async with window(settings=SETTINGS) as alone:
            known = await undisturbed(alone, files, FORM.kills)
        for person in people:
            person.sit_down()
        kills, wrong = await kill_engines(runtime, people, known, Random(7))
        tell(of_kills(kills, wrong, FORM.windows))
        assert wrong == []
        assert sum(kill.under_way for kill in kills) > 0, "this was to be under load"
        left, others = people[: FORM.windows // 2], people[FORM.windows // 2 :]
        for person in others:
            await kill_server(person)
        for person in left:
            await person.rest()
        await settled(runtime, windows=len(left))
        assert unsettled(left) == []
        assert troubles(people) == []
        (engine,) = engines(runtime)
        for person in left:
            await kill_server(person)
        await gone(engine)
        assert engines(runtime) == []
        assert not (runtime / "engine.sock").exists()


def unsettled(people: Sequence[Person]) -> list[str]:
    """Requests that were neither answered nor cancelled."""
    return [f"{a.asked - a.settled} requests" for a in (p.account for p in people) if a.asked != a.settled]


def troubles(people: Sequence[Person]) -> list[str]:
    """Requests that failed or hung, and what windows showed as errors."""
    messages = [message for person in people for message in person.window.client.messages]
    shown = [message.message for message in messages if message.type == types.MessageType.Error]
    return [*(fault for person in people for fault in person.account.faults), *shown]
