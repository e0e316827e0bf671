"""Of several requests for one document the newest is answered; the older ones first, and with nothing."""

from __future__ import annotations

import asyncio

import pytest
from support.waiting import settle

from lsp_server.completion.supersede import RunningRequests


class Desk:
    """Hands requests to ``Turns`` as the server does, and notes in which order answers leave and work begins."""

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
async def desk() -> Desk:
    return Desk()


async def test_newer_request_supersedes_and_the_older_is_answered_first(desk):
    first = desk.ask("A")
    await settle()
    second = desk.ask("B")
    await settle()
    desk.finish.set()
    assert (await first, await second) == (None, "B")
    assert desk.log == ["A begins", "A None", "B begins", "B B"]


@pytest.mark.parametrize("turns", range(12))
async def test_answers_leave_in_order_however_the_requests_come(desk, turns):
    """One that has not begun when it is superseded ends sooner than one that waits for an older one."""
    asked = [desk.ask("A")]
    await settle()
    asked.append(desk.ask("B"))
    for _ in range(turns):
        await asyncio.sleep(0)
    asked += [desk.ask("C"), desk.ask("D")]
    await settle()
    desk.finish.set()
    assert await asyncio.gather(*asked) == [None, None, None, "D"]
    assert [line for line in desk.log if "begins" not in line] == ["A None", "B None", "C None", "D D"]


async def test_automatic_request_does_not_supersede_one_made_by_hand(desk):
    by_hand, typed = desk.ask("hand", invoked=True), desk.ask("typed")
    await settle()
    desk.finish.set()
    assert (await by_hand, await typed) == ("hand", "typed")


async def test_request_made_by_hand_supersedes_all(desk):
    first, second, third = desk.ask("hand", invoked=True), desk.ask("typed"), desk.ask("again", invoked=True)
    await settle()
    desk.finish.set()
    assert (await first, await second, await third) == (None, None, "again")


async def test_documents_do_not_disturb_each_other(desk):
    first, second = desk.ask("A", "a.py"), desk.ask("B", "b.py")
    await settle()
    desk.finish.set()
    assert (await first, await second) == ("A", "B")


async def test_cancelled_by_the_client_is_cancelled_not_empty(desk):
    """The framework answers a cancelled handler with -32800."""
    asked = desk.ask("A")
    await settle()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert desk.running._running == {}


async def test_error_goes_to_who_asked(desk):
    async def broken() -> str:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await asyncio.ensure_future(desk.running.run("a.py", False, broken))
    assert desk.running._running == {}
