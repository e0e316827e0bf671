"""Soak test: sessions typing on one engine, then engines and servers killed meanwhile.

The short form is an ordinary test; `make soak` runs the long form of half an hour and writes its figures.
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
from soak.typing_user import TypingUser
from soak.watch import growth, watched
from support.e2e_window import window
from support.engine_processes import engines, gone, has_torch, statistics

from inference.text.source_files import SourceFile
from lsp_server.benchmark.source_choice import files_for_trace

pytestmark = [pytest.mark.starter, pytest.mark.slow]

FILES_EACH = 4

LARGEST_FILE = 10_000
"""Characters. With larger files a server's caches would still grow when memory must be flat."""


@dataclass(frozen=True)
class Form:
    """Size of a soak test.

    Attributes:
        windows: concurrent sessions.
        seconds: duration of undisturbed typing.
        kills: engines to kill.
        growth: most growth of a process in the second half; in a minute, caches still fill.
        unfair: largest ratio of two sessions' p95; a minute has few samples.
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
    # a small KV cache fills soon, so that memory stays flat
    "engine": {"graceSeconds": 2, "context": 512 * FORM.windows},
    # two cores prefill a usual prompt in four seconds: shorter ones give more requests
    "completion": {"prefetch": True, "deadlineMs": 20_000, "prefixChars": 300, "suffixChars": 150},
}


@pytest.fixture(autouse=True)
def _starter(starter_folder: Path, runtime: Path) -> None:
    """Real weights and a runtime folder for one test."""


@pytest.fixture(scope="module")
def files() -> list[SourceFile]:
    """ASCII files, so that columns agree in all position encodings."""
    return [file for file in files_for_trace(None) if file.text.isascii() and len(file.text) <= LARGEST_FILE]


@asynccontextmanager
async def users_at_work(files: Sequence[SourceFile]) -> AsyncIterator[list[TypingUser]]:
    """Yield users with their own session and files; every other editor cancels at each key."""
    editors = [("vscode", "neovim")[n % 2] for n in range(FORM.windows)]
    async with AsyncExitStack() as stack:
        opening = [stack.enter_async_context(window(editor, SETTINGS)) for editor in editors]
        windows = await asyncio.gather(*opening)
        yield [
            TypingUser(one, Random(n).sample(files, FILES_EACH), Random(n), cancels=editor == "vscode")
            for n, (one, editor) in enumerate(zip(windows, editors, strict=True))
        ]


async def test_sessions_share_one_engine_fairly_with_flat_memory(runtime, files):
    """Every request is answered or cancelled, and there is one engine throughout."""
    async with users_at_work(files) as users:
        servers = [user.window.pid for user in users]
        async with watched(lambda: [*servers, *(engine.pid for engine in engines(runtime))]) as memory:
            for user in users:
                user.start()
            await asyncio.sleep(FORM.seconds)
        for user in users:
            await user.rest()
        stats, traces = await statistics(runtime), [await user.window.trace() for user in users]
        tell([f"settings: {json.dumps(SETTINGS)}", *of_typing(users, memory, stats, FORM.seconds)])
        assert unsettled(users) == []
        assert errors(users) == []
        assert set(memory) - set(servers) == {stats["engine"]["pid"]}
        assert not any(map(has_torch, servers))
        assert [record["reason"] for trace in traces for record in trace if record["result"] == "failed"] == []
        assert {pid: growth(samples) for pid, samples in memory.items() if growth(samples) > FORM.growth} == {}
        assert spread([slowest(user) for user in users]) < FORM.unfair


async def test_killed_engines_recover_and_killed_servers_leave_nothing(runtime, files):
    """No session shows an error, no request hangs, and the next completion equals an undisturbed engine's."""
    async with users_at_work(files) as users:
        async with window(settings=SETTINGS) as alone:
            known = await undisturbed(alone, files, FORM.kills)
        for user in users:
            user.start()
        kills, wrong = await kill_engines(runtime, users, known, Random(7))
        tell(of_kills(kills, wrong, FORM.windows))
        assert wrong == []
        assert sum(kill.pending for kill in kills) > 0, "no request was in flight at any kill"
        left, others = users[: FORM.windows // 2], users[FORM.windows // 2 :]
        for user in others:
            await kill_server(user)
        for user in left:
            await user.rest()
        await settled(runtime, windows=len(left))
        assert unsettled(left) == []
        assert errors(users) == []
        (engine,) = engines(runtime)
        for user in left:
            await kill_server(user)
        await gone(engine)
        assert engines(runtime) == []
        assert not (runtime / "engine.sock").exists()


def unsettled(users: Sequence[TypingUser]) -> list[str]:
    """Return requests that were neither answered nor cancelled."""
    return [f"{a.asked - a.settled} requests" for a in (p.account for p in users) if a.asked != a.settled]


def errors(users: Sequence[TypingUser]) -> list[str]:
    """Return requests that failed or hung, and error messages of the sessions."""
    messages = [message for user in users for message in user.window.client.messages]
    shown = [message.message for message in messages if message.type == types.MessageType.Error]
    return [*(fault for user in users for fault in user.account.faults), *shown]
