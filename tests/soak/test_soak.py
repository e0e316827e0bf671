"""Soak test: several editors type on one engine, then engines and language servers are killed.

The short variant takes a minute. The long one, `make soak`, takes half an hour and writes a report.
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
from soak.figures import kills_report, p95_wait, report, spread, typing_report
from soak.kills import kill_engines, kill_server, settled, undisturbed_completions
from soak.process_memory import growth, sampled
from soak.typist import SimulatedTypist
from support.editor_session import editor_session
from support.engine_processes import engines, gone, has_torch, statistics

from inference.text.source_files import SourceFile
from lsp_server.benchmark.source_choice import files_for_trace

pytestmark = [pytest.mark.starter, pytest.mark.slow]

FILES_EACH = 4

LARGEST_FILE = 10_000
"""Characters. With larger files, a server's caches would still be growing in the second half."""


@dataclass(frozen=True)
class Variant:
    """The size of a soak test.

    Attributes:
        editors: number of simulated editors.
        seconds: seconds of undisturbed typing.
        kills: number of engines to kill.
        growth: allowed relative growth of a process in the second half. In a minute, caches are still growing.
        unfair: allowed ratio between the p95 of two editors. In a minute there are few samples.
    """

    editors: int
    seconds: float
    kills: int
    growth: float
    unfair: float


VARIANTS = {
    "short": Variant(4, 18, 5, growth=0.15, unfair=5.0),
    "long": Variant(8, 600, 50, growth=0.02, unfair=2.5),
}
VARIANT = VARIANTS[os.environ.get("SOAK", "short")]
SETTINGS = {
    # room for one prompt per editor, which is soon full, so that memory is seen to stay flat
    "engine": {"graceSeconds": 2, "context": 512 * VARIANT.editors},
    # two cores take four seconds to prefill a prompt of the usual size
    "completion": {"prefetch": True, "deadlineMs": 20_000, "prefixChars": 300, "suffixChars": 150},
}


@pytest.fixture(autouse=True)
def _starter(starter_folder: Path, runtime: Path) -> None:
    """Use real weights and a runtime folder for this test."""


@pytest.fixture(scope="module")
def files() -> list[SourceFile]:
    """Return ASCII files, in which a column is the same number in all position encodings."""
    return [file for file in files_for_trace(None) if file.text.isascii() and len(file.text) <= LARGEST_FILE]


@asynccontextmanager
async def typists_at_work(files: Sequence[SourceFile]) -> AsyncIterator[list[SimulatedTypist]]:
    """Yield typists, each with an editor and files. Every other editor cancels at each keystroke."""
    editors = [("vscode", "neovim")[n % 2] for n in range(VARIANT.editors)]
    async with AsyncExitStack() as stack:
        opening = [stack.enter_async_context(editor_session(editor, SETTINGS)) for editor in editors]
        windows = await asyncio.gather(*opening)
        yield [
            SimulatedTypist(one, Random(n).sample(files, FILES_EACH), Random(n), cancels=editor == "vscode")
            for n, (one, editor) in enumerate(zip(windows, editors, strict=True))
        ]


async def test_editors_share_one_engine_fairly_in_flat_memory(runtime, files):
    """Every request gets a response or is cancelled, and there is only one engine, so the weights are loaded once."""
    async with typists_at_work(files) as typists:
        servers = [typist.window.pid for typist in typists]
        async with sampled(lambda: [*servers, *(engine.pid for engine in engines(runtime))]) as memory:
            for typist in typists:
                typist.start()
            await asyncio.sleep(VARIANT.seconds)
        for typist in typists:
            await typist.stop()
        stats, traces = await statistics(runtime), [await typist.window.trace() for typist in typists]
        report([f"settings: {json.dumps(SETTINGS)}", *typing_report(typists, memory, stats, VARIANT.seconds)])
        assert unsettled(typists) == []
        assert errors(typists) == []
        assert set(memory) - set(servers) == {stats["engine"]["pid"]}
        assert not any(map(has_torch, servers))
        assert [record["reason"] for trace in traces for record in trace if record["result"] == "failed"] == []
        assert {pid: growth(samples) for pid, samples in memory.items() if growth(samples) > VARIANT.growth} == {}
        assert spread([p95_wait(typist) for typist in typists]) < VARIANT.unfair


async def test_killed_engines_and_servers_recover_and_leave_nothing(runtime, files):
    """No editor displays an error, no request hangs, and the next completion equals an undisturbed engine's."""
    async with typists_at_work(files) as typists:
        async with editor_session(settings=SETTINGS) as alone:
            known = await undisturbed_completions(alone, files, VARIANT.kills)
        for typist in typists:
            typist.start()
        kills, wrong = await kill_engines(runtime, typists, known, Random(7))
        report(kills_report(kills, wrong, VARIANT.editors))
        assert wrong == []
        assert sum(kill.pending for kill in kills) > 0, "there was no load"
        remaining, others = typists[: VARIANT.editors // 2], typists[VARIANT.editors // 2 :]
        for typist in others:
            await kill_server(typist)
        for typist in remaining:
            await typist.stop()
        await settled(runtime, editors=len(remaining))
        assert unsettled(remaining) == []
        assert errors(typists) == []
        (engine,) = engines(runtime)
        for typist in remaining:
            await kill_server(typist)
        await gone(engine)
        assert engines(runtime) == []
        assert not (runtime / "engine.sock").exists()


def unsettled(typists: Sequence[SimulatedTypist]) -> list[str]:
    """Return the numbers of requests without a response that were not cancelled."""
    return [f"{c.sent - c.settled} requests" for c in (t.counts for t in typists) if c.sent != c.settled]


def errors(typists: Sequence[SimulatedTypist]) -> list[str]:
    """Return the requests that failed or hung, and the error messages that editors displayed."""
    messages = [message for typist in typists for message in typist.window.client.messages]
    displayed = [message.message for message in messages if message.type == types.MessageType.Error]
    return [*(error for typist in typists for error in typist.counts.errors), *displayed]
