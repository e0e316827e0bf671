"""In-flight generations: followed, reused and stopped."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator

import pytest
from support.waiting import settle

from inference.api.engine_errors import EngineError
from inference.api.events import Finished, Outcome, TextChunk
from lsp_server.completion.in_flight import Generation, InFlightGenerations


class ScriptedStream:
    """A stream that emits texts on request and records when it is closed."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str | None] = asyncio.Queue()
        self.closed = False

    async def events(self) -> AsyncGenerator[TextChunk | Finished, None]:
        try:
            while (text := await self.queue.get()) is not None:
                if text == "boom":
                    raise EngineError("The engine failed.")
                yield TextChunk(text)
            yield Finished(Outcome("end"))
        finally:
            self.closed = True

    async def emits(self, *texts: str | None) -> None:
        for text in texts:
            self.queue.put_nowait(text)
        await settle()


class Rig:
    """One generation, and requests that follow it."""

    def __init__(self) -> None:
        self.writer = ScriptedStream()
        self.all: InFlightGenerations[str] = InFlightGenerations()
        self.kept: list[str] = []
        self.keeps = asyncio.Event()
        self.keeps.set()
        self.generation = self.all.start("a.py", Generation("here"), self.writer.events(), self.keep)

    async def keep(self, generation: Generation[str]) -> None:
        """Store the complete text once ``keeps`` is set."""
        await self.keeps.wait()
        self.kept.append(generation.text)

    def follow(self, typed: str = "", linger: bool = False) -> asyncio.Task[bool]:
        def matches(text: str) -> bool:
            return text.startswith(typed) or typed.startswith(text)

        return asyncio.ensure_future(self.generation.follow(matches, linger=linger))


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def test_all_followers_see_the_end_and_text_is_kept_once(rig):
    first, second = rig.follow(), rig.follow("fo")
    await rig.writer.emits("f", "oo", None)
    assert (await first, await second, rig.kept) == (True, True, ["foo"])
    assert rig.all.find("a.py", lambda _: True) is None


async def test_stopped_generation_is_freed_without_gc(rig):
    """It refers to a kept document, and the cycle collector runs rarely in a process of this size."""
    other, generation = rig.follow("fa"), weakref.ref(rig.generation)
    await rig.writer.emits("fo")
    assert await other is False
    await settle()
    gc.disable()
    try:
        del rig.generation, other
        assert generation() is None
    finally:
        gc.enable()


async def test_mismatch_ends_follow_and_stops_the_generation(rig):
    other = rig.follow("fa")
    await rig.writer.emits("f")
    assert not other.done()
    await rig.writer.emits("o")
    assert (await other, rig.writer.closed, rig.kept) == (False, True, [])


async def test_mismatch_of_one_follower_does_not_stop_others(rig):
    other, mismatching = rig.follow(), rig.follow("x")
    await rig.writer.emits("f")
    assert (await mismatching, rig.writer.closed) == (False, False)
    await rig.writer.emits(None)
    assert await other is True


async def test_cancel_without_linger_stops_immediately(rig):
    request = rig.follow()
    await rig.writer.emits("f")
    request.cancel()
    await settle()
    assert rig.writer.closed


async def test_cancel_with_linger_waits_for_the_next_request(rig, monkeypatch):
    """VS Code cancels a request at each keystroke before it sends the next one."""
    later = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda seconds, call: later.append((seconds, call)))
    first = rig.follow(linger=True)
    await rig.writer.emits("f")
    first.cancel()
    await settle()
    second = rig.follow("fo", linger=True)
    await settle()
    ((seconds, time_is_up),) = later
    time_is_up()
    await settle()
    assert (seconds, rig.writer.closed) == (0.15, False)
    second.cancel()
    await settle()
    later[1][1]()
    await settle()
    assert rig.writer.closed


async def test_find_stops_unmatched_generations(rig):
    assert rig.all.find("b.py", lambda _: False) is None
    assert rig.all.find("a.py", lambda g: g.origin == "here") is rig.generation
    await settle()
    assert not rig.writer.closed
    assert rig.all.find("a.py", lambda _: False) is None
    await settle()
    assert rig.writer.closed


async def test_find_does_not_stop_a_followed_generation(rig):
    request = rig.follow()
    await settle()
    assert rig.all.find("a.py", lambda _: False) is None
    await rig.writer.emits("f", None)
    assert await request is True


async def test_error_is_raised_in_followers_and_nothing_is_kept(rig):
    request = rig.follow()
    await rig.writer.emits("f", "boom")
    with pytest.raises(EngineError, match=r"The engine failed\."):
        await request
    assert rig.kept == []


async def test_stopped_or_failed_generation_is_not_found(rig):
    request = rig.follow()
    await settle()
    rig.writer.queue.put_nowait("boom")
    request.add_done_callback(lambda _: found.append(rig.all.find("a.py", lambda _: True)))
    found = []
    with pytest.raises(EngineError):
        await request
    other = Rig()
    other.generation.stop()
    assert (found, other.all.find("a.py", lambda _: True)) == ([None], None)


async def test_complete_text_is_kept_without_followers(rig):
    """The model is already free, so stopping would gain nothing."""
    rig.keeps.clear()
    other, by_hand = rig.follow("f", linger=True), rig.follow("f")
    await rig.writer.emits("foo", None)
    assert (rig.writer.closed, other.done(), rig.generation.is_running) == (True, False, True)
    by_hand.cancel()
    other.cancel()
    await settle()
    assert (other.cancelled(), by_hand.cancelled()) == (True, True)
    rig.all.stop_all()
    assert rig.all.find("a.py", lambda _: False) is None
    later = rig.follow("fo")
    await settle()
    rig.keeps.set()
    assert (await later, rig.kept) == (True, ["foo"])


async def test_error_in_on_finished_is_raised_in_followers(rig):
    async def fails(generation: Generation[str]) -> None:
        raise ValueError("a bug")

    writer = ScriptedStream()
    generation = rig.all.start("b.py", Generation("there"), writer.events(), fails)
    request = asyncio.ensure_future(generation.follow(lambda _: True, linger=False))
    await writer.emits("foo", None)
    with pytest.raises(ValueError, match="a bug"):
        await request


async def test_stop_all_ends_follow(rig):
    request = rig.follow()
    await settle()
    rig.all.stop_all()
    assert await request is False
