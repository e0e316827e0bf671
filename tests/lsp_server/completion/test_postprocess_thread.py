"""Post-processing runs in a thread: the event loop handles keystrokes meanwhile, and no text is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from fakes.scripted_engine import PipelineHarness, ScriptedEngine
from support.waiting import settle

from lsp_server.completion.postprocess.rules import Postprocessed
from lsp_server.snapshot import Snapshot


class HeldPostprocess:
    """Post-processing of ``slow`` takes until ``go`` is set."""

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
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldPostprocess]:
    shape = HeldPostprocess(monkeypatch)
    yield shape
    shape.go.set()


async def begins(
    person: PipelineHarness, held: HeldPostprocess, before: str = "x = ", **asked
) -> asyncio.Task[list[str]]:
    """Return a request whose text is being post-processed."""
    request = asyncio.ensure_future(person.sees(before, **asked))
    assert await asyncio.to_thread(held.begun.wait, 5)
    return request


async def test_loop_is_free_during_postprocessing(held):
    """A request at another cursor is served from the cache meanwhile."""
    person = PipelineHarness(ScriptedEngine({"y = ": "1", "x = ": "slow"}), beside=True)
    assert await person.sees("y = ") == ["1"]
    first = await begins(person, held)
    assert not first.done()
    assert await person.sees("y = ") == ["1"]
    assert not first.done()
    held.go.set()
    assert await first == ["slow"]


async def test_matching_keystroke_waits_for_postprocessing(held):
    person = PipelineHarness(ScriptedEngine({"x = ": "slow"}), beside=True)
    first = await begins(person, held)
    second = asyncio.ensure_future(person.sees("x = s"))
    await settle()
    held.go.set()
    assert (await first, await second, person.record.source) == (["slow"], ["low"], "running")
    assert person.model.prompts == ["x = "]


async def test_mismatching_keystroke_does_not_lose_the_text(held):
    """Texts are cached in the order in which they were generated, and the newest is found first."""
    person = PipelineHarness(ScriptedEngine({"x = ": "slow", "x = z": "ip"}), beside=True)
    first = await begins(person, held)
    second = asyncio.ensure_future(person.sees("x = z"))
    await settle()
    assert (person.model.prompts, second.done()) == (["x = ", "x = z"], False)
    held.go.set()
    assert (await first, await second, held.log) == (["slow"], ["ip"], ["slow", "ip"])
    assert (await person.sees("x = "), person.record.source) == (["slow"], "same")
    assert len(person.model.asked) == 2


@pytest.mark.parametrize("by_hand", [True, False])
async def test_cancel_during_postprocessing_keeps_the_text(held, by_hand):
    person = PipelineHarness(ScriptedEngine({"x = ": "slow"}), beside=True)
    first = await begins(person, held, by_hand=by_hand)
    first.cancel()
    await settle()
    assert first.cancelled()
    again = asyncio.ensure_future(person.sees("x = "))
    await settle()
    held.go.set()
    assert (await again, person.model.prompts) == (["slow"], ["x = "])


async def test_shutdown_during_postprocessing_returns_the_text(held):
    person = PipelineHarness(ScriptedEngine({"x = ": "slow"}), beside=True)
    first = await begins(person, held)
    person.suggestions.in_flight.stop_all()
    held.go.set()
    assert await first == ["slow"]


async def test_postprocessing_error_is_raised(monkeypatch):
    def broken(snapshot: Snapshot, text: str, *, cut: bool) -> Postprocessed:
        raise ValueError("a bug")

    monkeypatch.setattr("lsp_server.completion.pipeline.postprocess", broken)
    person = PipelineHarness(ScriptedEngine({"x = ": "1"}), beside=True)
    with pytest.raises(ValueError, match="a bug"):
        await person.sees("x = ")
