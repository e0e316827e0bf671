"""Answers are put into shape beside the event loop: keys that come meanwhile are served, and nothing is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from fakes.suggesting import Person, Told
from support.waiting import settle

from lsp_server.completion.postprocess.rules import Postprocessed
from lsp_server.snapshot import Snapshot


class HeldShape:
    """Putting ``slow`` into shape takes until ``go``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.log: list[str] = []
        monkeypatch.setattr("lsp_server.completion.pipeline.postprocess", self)

    def __call__(self, snapshot: Snapshot, text: str, *, cut: bool) -> Postprocessed:
        self.log.append(text)
        if text == "slow":
            self.begun.set()
            self.go.wait(5)
        return Postprocessed(text)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldShape]:
    shape = HeldShape(monkeypatch)
    yield shape
    shape.go.set()


async def begins(person: Person, held: HeldShape, before: str = "x = ", **asked) -> asyncio.Task[list[str]]:
    """A request whose answer is being put into shape."""
    request = asyncio.ensure_future(person.sees(before, **asked))
    assert await asyncio.to_thread(held.begun.wait, 5)
    return request


async def test_loop_goes_on_while_a_check_takes_long(held):
    """A key in another place is answered meanwhile, from memory and by the model's own stream."""
    person = Person(Told({"y = ": "1", "x = ": "slow"}), beside=True)
    assert await person.sees("y = ") == ["1"]
    first = await begins(person, held)
    assert not first.done()
    assert await person.sees("y = ") == ["1"]
    assert not first.done()
    held.go.set()
    assert await first == ["slow"]


async def test_key_that_agrees_with_what_is_being_shaped_waits_for_that(held):
    person = Person(Told({"x = ": "slow"}), beside=True)
    first = await begins(person, held)
    second = asyncio.ensure_future(person.sees("x = s"))
    await settle()
    held.go.set()
    assert (await first, await second, person.record.source) == (["slow"], ["low"], "running")
    assert person.model.prompts == ["x = "]


async def test_key_that_disagrees_is_asked_for_at_once_and_what_was_written_is_not_lost(held):
    """Texts are remembered in the order in which they were written: the newest is found first."""
    person = Person(Told({"x = ": "slow", "x = z": "ip"}), beside=True)
    first = await begins(person, held)
    second = asyncio.ensure_future(person.sees("x = z"))
    await settle()
    assert (person.model.prompts, second.done()) == (["x = ", "x = z"], False)
    held.go.set()
    assert (await first, await second, held.log) == (["slow"], ["ip"], ["slow", "ip"])
    assert (await person.sees("x = "), person.record.source) == (["slow"], "same")
    assert len(person.model.asked) == 2


@pytest.mark.parametrize("by_hand", [True, False])
async def test_cancelled_while_its_answer_is_shaped_ends_at_once_and_the_answer_is_kept(held, by_hand):
    person = Person(Told({"x = ": "slow"}), beside=True)
    first = await begins(person, held, by_hand=by_hand)
    first.cancel()
    await settle()
    assert first.cancelled()
    again = asyncio.ensure_future(person.sees("x = "))
    await settle()
    held.go.set()
    assert (await again, person.model.prompts) == (["slow"], ["x = "])


async def test_shutting_down_while_an_answer_is_shaped_gives_it(held):
    person = Person(Told({"x = ": "slow"}), beside=True)
    first = await begins(person, held)
    person.suggestions.in_flight.stop_all()
    held.go.set()
    assert await first == ["slow"]


async def test_what_fails_in_shaping_is_no_answer(monkeypatch):
    def broken(snapshot: Snapshot, text: str, *, cut: bool) -> Postprocessed:
        raise ValueError("a bug")

    monkeypatch.setattr("lsp_server.completion.pipeline.postprocess", broken)
    person = Person(Told({"x = ": "1"}), beside=True)
    with pytest.raises(ValueError, match="a bug"):
        await person.sees("x = ")
