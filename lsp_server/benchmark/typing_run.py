"""A simulated typist writes one file with the real language server: keys saved, by language and in all.

The trace of the server tells how each request was answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from pygls.exceptions import JsonRpcException
from rich.table import Table

from inference.system.terminal import figure_table
from lsp_server.benchmark.bench_figures import ALL, spread
from lsp_server.benchmark.editing_trace import TypedText
from lsp_server.benchmark.simulated_typist import Part, SimulatedTypist, keys_without_completions, right_part
from lsp_server.demo.tiny_editor import TinyEditor

PATIENCE = 120.0
"""Seconds after which a request counts as unanswered."""
READ_TRACE_EVERY = 100
"""Requests after which the trace is read; the server keeps twice as many."""

Gap = Callable[[], float]
"""Seconds from one key to the next."""


@dataclass
class Tally:
    """Counts of one file, or of several.

    Attributes:
        alone: keys needed without completions; ``keys``: keys pressed.
        shown: completions shown; the rest of one being typed or accepted is not a new one.
        accepted: completions accepted at least in part; ``partly``: never in full.
        requests: all requests; ``unanswered``: those without a response.
        calls: model calls; ``known``: requests answered without one; ``superseded``: by the next key.
        seconds: latencies of requests that were not superseded.
    """

    language: str
    files: int = 1
    alone: int = 0
    keys: int = 0
    shown: int = 0
    accepted: int = 0
    partly: int = 0
    requests: int = 0
    unanswered: int = 0
    calls: int = 0
    known: int = 0
    superseded: int = 0
    seconds: list[float] = field(default_factory=list)


@dataclass
class DisplayedCompletion:
    """The completion displayed at the cursor."""

    tally: Tally
    left: str = ""
    _taken: Part | None = None

    def look(self, shown: str) -> None:
        """Display a response."""
        if shown and not self.left.startswith(shown):
            self.tally.shown += 1
            self._taken = None
        self.left = shown

    def typed(self, before: str, now: str) -> None:
        """Shorten or drop the completion after the text left of the cursor has changed."""
        more = now.removeprefix(before) if now.startswith(before) else ""
        self.left = self.left[len(more) :] if more and self.left.startswith(more) else ""

    def taken(self, how: Part) -> None:
        """Count an accepted completion or part."""
        if self._taken is None:
            self.tally.accepted += 1
            self.tally.partly += how != "whole"
        elif self._taken != "whole" and how == "whole":
            self.tally.partly -= 1
        self._taken = how


class TimedSuggestion(NamedTuple):
    """A completion and its latency; ``text`` is None without a response."""

    text: str | None
    seconds: float


class TypedDocument:
    """An open file and its completion requests."""

    def __init__(self, editor: TinyEditor, path: Path, typist: TypedText, tally: Tally) -> None:
        self._editor, self._path, self._tally = editor, path, tally
        self._asked: list[asyncio.Task[TimedSuggestion]] = []
        editor.open(path, typist.before + typist.after)

    def ask(self, typist: TypedText) -> asyncio.Task[TimedSuggestion]:
        """Send the changed document and a completion request."""
        text, before = typist.before + typist.after, typist.before
        self._editor.change(self._path, text)
        asked = asyncio.ensure_future(self._answer(text, before.count("\n"), len(before) - (before.rfind("\n") + 1)))
        self._asked.append(asked)
        return asked

    async def note(self, least: int = 1) -> None:
        """Count finished requests from the trace, if at least ``least`` are not counted yet."""
        if len(self._asked) < least:
            return
        answers = await asyncio.gather(*self._asked)
        records = (await self._editor.records())[-len(answers) :]
        for answer, record in zip(answers, records, strict=True):
            _count(self._tally, answer, record)
        self._asked = []

    def close(self) -> None:
        """Close the document."""
        self._editor.close(self._path)

    async def _answer(self, text: str, line: int, column: int) -> TimedSuggestion:
        started, shown = time.perf_counter(), None
        with suppress(TimeoutError, JsonRpcException):
            async with asyncio.timeout(PATIENCE):
                shown = await self._editor.complete(self._path, text, line, column, invoked=False)
        return TimedSuggestion(shown, time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class Habits:
    """Smallest part of a completion to accept, and the typing rate.

    Without a ``gap`` each response is awaited before the next key.
    """

    least: Part = "word"
    gap: Gap | None = None


async def type_file(editor: TinyEditor, path: Path, language: str, typist: TypedText, habits: Habits) -> Tally:
    """Type the whole text, and return the counts."""
    person, tally = SimulatedTypist(typist), Tally(language, alone=keys_without_completions(typist))
    seen, document = DisplayedCompletion(tally), TypedDocument(editor, path, typist, tally)
    while not person.done:
        _act(person, seen, habits.least)
        if not person.done:
            shown = await _looked(document.ask(person.typist), habits.gap)
            if shown is not None:
                seen.look(shown)
        await document.note(READ_TRACE_EVERY)
    await document.note()
    document.close()
    tally.keys = person.keys
    return tally


def _act(person: SimulatedTypist, seen: DisplayedCompletion, least: Part) -> None:
    """Accept the right part of the displayed completion, else press the next key."""
    found = right_part(seen.left, person, least)
    before = person.typist.before
    if found:
        how, part = found
        person.take(part)
        seen.taken(how)
    else:
        person.press()
    seen.typed(before, person.typist.before)


async def _looked(asked: asyncio.Task[TimedSuggestion], gap: Gap | None) -> str | None:
    """Return the response; with a ``gap``, only if it has come before the next key."""
    if gap is None:
        return (await asked).text
    await asyncio.sleep(gap())
    return asked.result().text if asked.done() else None


def _count(tally: Tally, answer: TimedSuggestion, record: Mapping[str, Any]) -> None:
    tally.requests += 1
    tally.unanswered += answer.text is None
    tally.calls += bool(record["amount"])
    tally.superseded += record["result"] == "superseded"
    if record["result"] in ("shown", "empty"):
        tally.known += bool(record["source"])
        tally.seconds.append(answer.seconds)


def keys_saved(tallies: Sequence[Tally]) -> dict[str, Any]:
    """Return figures by language, ``all`` last."""
    languages = sorted({tally.language for tally in tallies})
    of = {language: [tally for tally in tallies if tally.language == language] for language in languages}
    return {name: _figures(_sum(name, some)) for name, some in {**of, ALL: list(tallies)}.items()}


def typing_table(figures: dict[str, Any]) -> Table:
    """Return a table with one row a language."""
    columns = (
        *("files", "keys alone", "pressed", "saved", "shown", "accepted", "of shown", "partly"),
        *("requests", "unanswered", "without model", "model calls", "calls/100 keys", "ms (median / 95 %)"),
    )
    drawn = figure_table(("language",), columns, "Keys saved by a user who accepts what is right", ruled=True)
    for language, one in figures.items():
        if language == ALL:
            drawn.add_section()
        drawn.add_row(language, *_cells(one))
    return drawn


def _cells(one: dict[str, Any]) -> list[str]:
    times = f"{one['ms']['p50']:.0f} / {one['ms']['p95']:.0f}" if one["ms"] else "–"
    keys = (str(one["files"]), str(one["keys_alone"]), str(one["keys"]), f"{one['saved']:.1%}")
    suggestions = (str(one["shown"]), str(one["accepted"]), f"{one['acceptance']:.0%}", str(one["partly_accepted"]))
    asked = (str(one[name]) for name in ("requests", "unanswered", "without_model", "model_calls"))
    return [*keys, *suggestions, *asked, f"{one['calls_per_100_keys']:.0f}", times]


def _sum(language: str, tallies: Sequence[Tally]) -> Tally:
    whole = Tally(language, files=0)
    for name in (one.name for one in fields(Tally) if one.name not in ("language", "seconds")):
        setattr(whole, name, sum(getattr(tally, name) for tally in tallies))
    whole.seconds = [second for tally in tallies for second in tally.seconds]
    return whole


def _figures(tally: Tally) -> dict[str, Any]:
    return {
        "files": tally.files,
        "keys_alone": tally.alone,
        "keys": tally.keys,
        "saved": _share(tally.alone - tally.keys, tally.alone),
        "shown": tally.shown,
        "accepted": tally.accepted,
        "partly_accepted": tally.partly,
        "acceptance": _share(tally.accepted, tally.shown),
        "requests": tally.requests,
        "unanswered": tally.unanswered,
        "superseded": tally.superseded,
        "without_model": tally.known,
        "model_calls": tally.calls,
        "calls_per_100_keys": round(100 * _share(tally.calls, tally.keys), 1),
        "ms": spread(tally.seconds) if tally.seconds else None,
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
