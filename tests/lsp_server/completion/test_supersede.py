"""Superseding: only the newest request per document runs, after empty responses to the older ones."""

from __future__ import annotations

import asyncio

import pytest
from support.waiting import settle

from lsp_server.completion.supersede import RunningRequests


class Rig:
    """Runs requests as the server does, and records the order of responses and work."""

    def __init__(self) -> None:
        self.running = RunningRequests()
        self.log: list[str] = []
        self.finish = asyncio.Event()

    def ask(self, name: str, key: str = "a.py", invoked: bool = False) -> asyncio.Task[str | None]:
        async def work() -> str:
            self.log.append(f"{name} begins")
            await self.finish.wait()
            return name

        task = asyncio.ensure_future(self.running.run(key, invoked, work))
        task.add_done_callback(lambda t: self.log.append(f"{name} {'cancelled' if t.cancelled() else t.result()}"))
        return task


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def test_newer_request_runs_after_the_older_response(rig):
    first = rig.ask("A")
    await settle()
    second = rig.ask("B")
    await settle()
    rig.finish.set()
    assert (await first, await second) == (None, "B")
    assert rig.log == ["A begins", "A None", "B begins", "B B"]


@pytest.mark.parametrize("turns", range(12))
async def test_responses_are_in_request_order(rig, turns):
    """A superseded request that has not started ends sooner than one that waits for an older one."""
    requests = [rig.ask("A")]
    await settle()
    requests.append(rig.ask("B"))
    for _ in range(turns):
        await asyncio.sleep(0)
    requests += [rig.ask("C"), rig.ask("D")]
    await settle()
    rig.finish.set()
    assert await asyncio.gather(*requests) == [None, None, None, "D"]
    assert [line for line in rig.log if "begins" not in line] == ["A None", "B None", "C None", "D D"]


async def test_automatic_request_does_not_supersede_invoked_one(rig):
    by_hand, typed = rig.ask("hand", invoked=True), rig.ask("typed")
    await settle()
    rig.finish.set()
    assert (await by_hand, await typed) == ("hand", "typed")


async def test_invoked_request_supersedes_all(rig):
    first, second, third = rig.ask("hand", invoked=True), rig.ask("typed"), rig.ask("again", invoked=True)
    await settle()
    rig.finish.set()
    assert (await first, await second, await third) == (None, None, "again")


async def test_documents_are_independent(rig):
    first, second = rig.ask("A", "a.py"), rig.ask("B", "b.py")
    await settle()
    rig.finish.set()
    assert (await first, await second) == ("A", "B")


async def test_cancelled_request_is_not_an_empty_result(rig):
    """pygls responds to a cancelled handler with error -32800."""
    requests = rig.ask("A")
    await settle()
    requests.cancel()
    with pytest.raises(asyncio.CancelledError):
        await requests
    assert rig.running._running == {}


async def test_error_is_raised_in_its_request(rig):
    async def broken() -> str:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await asyncio.ensure_future(rig.running.run("a.py", False, broken))
    assert rig.running._running == {}
