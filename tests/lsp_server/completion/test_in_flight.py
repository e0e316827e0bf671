"""What goes on and what is stopped while requests come and go."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator

import pytest
from support.waiting import settle

from inference.api.errors import EngineError
from inference.api.events import Finished, Outcome, TextChunk
from lsp_server.completion.in_flight import Generation, InFlightGenerations


class Writer:
    """Writes what it is told to when it is told to, and notes its end."""

    def __init__(self) -> None:
        self.orders: asyncio.Queue[str | None] = asyncio.Queue()
        self.left = False

    async def events(self) -> AsyncGenerator[TextChunk | Finished, None]:
        try:
            while (text := await self.orders.get()) is not None:
                if text == "boom":
                    raise EngineError("The engine failed.")
                yield TextChunk(text)
            yield Finished(Outcome("end"))
        finally:
            self.left = True

    async def says(self, *texts: str | None) -> None:
        for text in texts:
            self.orders.put_nowait(text)
        await settle()


class Desk:
    """One generation, and requests that follow it."""

    def __init__(self) -> None:
        self.writer = Writer()
        self.all: InFlightGenerations[str] = InFlightGenerations()
        self.whole: list[str] = []
        self.keeps = asyncio.Event()
        self.keeps.set()
        self.generation = self.all.begin("a.py", Generation("here"), self.writer.events(), self.keep)

    async def keep(self, generation: Generation[str]) -> None:
        """Takes as long as ``keeps`` is not set."""
        await self.keeps.wait()
        self.whole.append(generation.text)

    def follow(self, typed: str = "", patient: bool = False) -> asyncio.Task[bool]:
        def suits(text: str) -> bool:
            return text.startswith(typed) or typed.startswith(text)

        return asyncio.ensure_future(self.generation.follow(suits, patient=patient))


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_all_who_follow_learn_of_the_end_and_it_is_kept_once(desk):
    first, second = desk.follow(), desk.follow("fo")
    await desk.writer.says("f", "oo", None)
    assert (await first, await second, desk.whole) == (True, True, ["foo"])
    assert desk.all.find("a.py", lambda _: True) is None


async def test_one_that_was_stopped_leaves_memory_at_once(desk):
    """With a whole document: the collector of circles comes seldom in a process of this size."""
    typist, generation = desk.follow("fa"), weakref.ref(desk.generation)
    await desk.writer.says("fo")
    assert await typist is False
    await settle()
    gc.disable()
    try:
        del desk.generation, typist
        assert generation() is None
    finally:
        gc.enable()


async def test_who_typed_something_else_is_told_at_once_and_the_model_freed(desk):
    typist = desk.follow("fa")
    await desk.writer.says("f")
    assert not typist.done()
    await desk.writer.says("o")
    assert (await typist, desk.writer.left, desk.whole) == (False, True, [])


async def test_it_goes_on_for_others_when_it_does_not_suit_one(desk):
    other, typist = desk.follow(), desk.follow("x")
    await desk.writer.says("f")
    assert (await typist, desk.writer.left) == (False, False)
    await desk.writer.says(None)
    assert await other is True


async def test_cancelled_by_hand_frees_the_model_at_once(desk):
    request = desk.follow()
    await desk.writer.says("f")
    request.cancel()
    await settle()
    assert desk.writer.left


async def test_cancelled_while_typing_goes_on_until_the_next_key_has_had_the_time_to_come(desk, monkeypatch):
    """VS Code cancels at each key, before it asks anew."""
    later = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda seconds, call: later.append((seconds, call)))
    first = desk.follow(patient=True)
    await desk.writer.says("f")
    first.cancel()
    await settle()
    second = desk.follow("fo", patient=True)
    await settle()
    ((seconds, time_is_up),) = later
    time_is_up()
    await settle()
    assert (seconds, desk.writer.left) == (0.15, False)
    second.cancel()
    await settle()
    later[1][1]()
    await settle()
    assert desk.writer.left


async def test_what_suits_nobody_is_stopped_when_the_next_request_looks(desk):
    assert desk.all.find("b.py", lambda _: False) is None
    assert desk.all.find("a.py", lambda g: g.origin == "here") is desk.generation
    await settle()
    assert not desk.writer.left
    assert desk.all.find("a.py", lambda _: False) is None
    await settle()
    assert desk.writer.left


async def test_what_another_request_follows_is_not_stopped(desk):
    request = desk.follow()
    await settle()
    assert desk.all.find("a.py", lambda _: False) is None
    await desk.writer.says("f", None)
    assert await request is True


async def test_failure_is_told_to_who_follows_and_nothing_is_kept(desk):
    request = desk.follow()
    await desk.writer.says("f", "boom")
    with pytest.raises(EngineError, match=r"The engine failed\."):
        await request
    assert desk.whole == []


async def test_what_was_stopped_or_has_failed_is_not_found_although_it_may_still_be_ending(desk):
    request = desk.follow()
    await settle()
    desk.writer.orders.put_nowait("boom")
    request.add_done_callback(lambda _: found.append(desk.all.find("a.py", lambda _: True)))
    found = []
    with pytest.raises(EngineError):
        await request
    other = Desk()
    other.generation.stop()
    assert (found, other.all.find("a.py", lambda _: True)) == ([None], None)


async def test_what_is_written_whole_is_kept_although_nobody_follows_it_any_more(desk):
    """No model works for it: nothing is gained by stopping."""
    desk.keeps.clear()
    typist, by_hand = desk.follow("f", patient=True), desk.follow("f")
    await desk.writer.says("foo", None)
    assert (desk.writer.left, typist.done(), desk.generation.goes_on) == (True, False, True)
    by_hand.cancel()
    typist.cancel()
    await settle()
    assert (typist.cancelled(), by_hand.cancelled()) == (True, True)
    desk.all.stop()
    assert desk.all.find("a.py", lambda _: False) is None
    later = desk.follow("fo")
    await settle()
    desk.keeps.set()
    assert (await later, desk.whole) == (True, ["foo"])


async def test_what_fails_when_it_is_written_whole_is_told_to_who_follows(desk):
    async def fails(generation: Generation[str]) -> None:
        raise ValueError("a bug")

    writer = Writer()
    generation = desk.all.begin("b.py", Generation("there"), writer.events(), fails)
    request = asyncio.ensure_future(generation.follow(lambda _: True, patient=False))
    await writer.says("foo", None)
    with pytest.raises(ValueError, match="a bug"):
        await request


async def test_stopping_all_answers_who_follows(desk):
    request = desk.follow()
    await settle()
    desk.all.stop()
    assert await request is False
