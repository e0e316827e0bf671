"""The trace through the real language server with a scripted model."""

from __future__ import annotations

import os

from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import serving

from lsp_server.benchmark.editing_trace import TraceRequest
from lsp_server.benchmark.end_to_end import EndToEndCompletion, ReplaySession, until_idle
from lsp_server.demo.tiny_editor import tiny_editor

SETTINGS = {"completion": {"debounceMs": 0, "prefetch": False}, "engine": {"adapter": ""}}


def typed(prefix: str, suffix: str = "\n") -> TraceRequest:
    return TraceRequest("a.py", "python", prefix, suffix, "warm")


async def test_each_request_updates_the_document_and_is_automatic(runtime):
    answerer = ScriptedModel(pieces=["1", " + 2"])
    async with serving(runtime, answerer), tiny_editor(SETTINGS) as editor:
        await editor.ready()
        window = ReplaySession(editor)
        answers = [await window.ask(typed(prefix)) for prefix in ("x = ", "# a\nx = 3\ny = ")]
        record = await editor.last_record()
        assert editor.engine_pid == os.getpid()
    assert [(one.tokens, one.shown, one.known) for one in answers] == [(2, 5, False), (2, 5, False)]
    assert all(one.total > 0 for one in answers)
    assert [line for line in answerer.log if line.startswith("begin")] == ["begin x = ", "begin # a\nx = 3\ny = "]
    assert (record["line"], record["invoked"]) == (2, False)


async def test_request_without_model_call_is_reported(runtime):
    """An empty document is no avoided call."""
    async with serving(runtime, ScriptedModel()), tiny_editor(SETTINGS) as editor:
        await editor.ready()
        felt = await ReplaySession(editor).ask(typed("", "\n"))
    assert (felt.tokens, felt.shown, felt.known) == (None, 0, False)


async def test_cached_completion_is_an_avoided_call():
    """A cached empty result counts too; the trace marks it by its source."""
    for shown, source, known in (("x", "typed", True), ("", "same", True), ("", "", False)):
        felt = await ReplaySession(Remembering(shown, source)).ask(typed("a"))  # type: ignore[arg-type]
        assert felt == EndToEndCompletion(felt.total, None, len(shown), known)


class Remembering:
    """An editor with a server that calls no model."""

    def __init__(self, shown: str, source: str) -> None:
        self._shown, self._source = shown, source

    def open(self, path, text) -> None:
        pass

    async def complete(self, path, text, line, column, *, invoked) -> str:
        return self._shown

    async def last_record(self):
        return {"outcome": None, "source": self._source}


async def test_busy_engine_is_awaited():
    seen = iter([1.0, 1.01, 1.5, 1.5, 2.0])
    assert await until_idle(lambda: next(seen), looks=10, every=0)
    assert list(seen) == [2.0]


async def test_wait_for_a_busy_engine_is_limited():
    seen = iter(range(100))
    assert not await until_idle(lambda: next(seen), looks=10, every=0)
    assert next(seen) == 11
