"""The scenarios of ``bench``: each request goes to every side in turn, in alternating order.

Load from other processes thus affects all sides alike. The peak memory of each process is sampled meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from random import Random

import psutil

from lsp_server.benchmark.end_to_end import EndToEndCompletion, ReplaySession
from lsp_server.benchmark.sides.side import NoChatError, Side, TimedCompletion, TimedRequest, busy_with_chat
from lsp_server.benchmark.workload import Recording, Workload

WARM_UP_PROMPT = 63
STREAM_TOKENS = 32
DECODE_TOKENS = 64
LONGEST_PAUSE = 0.1
"""Most seconds before a request during a chat, so that it comes at any moment of a step."""
PATIENCE = 60.0
"""Time limit for requests during a chat: some servers let each wait for the whole response."""

ReportProgress = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion of one side; ``request`` numbers the requests that all sides get."""

    side: str
    kind: str
    request: int
    answer: TimedCompletion


@dataclass
class Waits:
    """Seconds to the first token of a completion on an ``idle`` server and during a chat (``busy``).

    ``steps`` are the seconds between parts of an undisturbed chat.
    """

    idle: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)


@dataclass
class Results:
    """All measurements.

    Attributes:
        felt: end-to-end completions by request number.
        streams: completions requested at the same time, by side.
        waits: waits for a completion, by side.
        peaks: peak memory in bytes, by side.
    """

    samples: list[Sample] = field(default_factory=list)
    felt: dict[int, EndToEndCompletion] = field(default_factory=dict)
    streams: dict[str, list[TimedCompletion]] = field(default_factory=dict)
    waits: dict[str, Waits] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)


async def measure(
    sides: Sequence[Side], work: Workload, tokens: int, window: ReplaySession | None, tell: ReportProgress
) -> Results:
    """Run every scenario that ``work`` has requests for. The first side is ours. Raises ``BenchError``."""
    results = Results()
    tell(f"measuring {', '.join(side.name for side in sides)}")
    await warm_up(sides, work)
    tell(f"{len(work.unseen)} new prompts, and {len(work.warm)} that extend the last")
    await measure_unseen(sides, work, tokens, results)
    if work.trace:
        tell(f"a trace of {len(work.trace)} requests")
        await measure_trace(sides, work, tokens, results, window)
    tell(f"{len(work.short)} long completions, {len(work.rewrites)} rewrites")
    await measure_decode(sides, work.short, results)
    await measure_rewrites(sides[:1] if work.trace else sides, work.rewrites, results)
    if work.streams:
        tell(f"{len(work.streams)} concurrent completions, then {len(work.typed) // 2} completions during a chat")
        await measure_streams(sides, work.streams, results)
        await measure_during_chat(sides, work.typed, tokens, results)
    return results


async def warm_up(sides: Sequence[Side], work: Workload) -> None:
    """Send one request to each side: memory, kernels and connections are set up."""
    for side in sides:
        await side.answer(TimedRequest(work.unseen[0][WARM_UP_PROMPT::-1], 2, "warm-up"))


async def measure_unseen(sides: Sequence[Side], work: Workload, tokens: int, into: Results) -> None:
    """Measure prompts without a cached prefix, then prompts that extend the last one."""
    for n, ids in enumerate(work.unseen):
        await request_all(sides, TimedRequest(ids, tokens, f"unseen-{n}"), "unseen", n, into)
    for n, ids in enumerate(work.warm):
        await request_all(sides, TimedRequest(ids, tokens, "warm"), "warm", n, into)


async def measure_trace(
    sides: Sequence[Side], work: Workload, tokens: int, into: Results, window: ReplaySession | None
) -> None:
    """Replay the editing trace with ``tokens`` tokens a completion."""
    for n, (request, ids) in enumerate(work.trace):
        asked = [side for side in sides if n % side.every == 0]
        await request_all(asked, TimedRequest(ids, tokens, request.document), request.kind, n, into)
        if window:
            into.felt[n] = await window.ask(request)
            await window.pause()


async def measure_decode(sides: Sequence[Side], prompts: Sequence[list[int]], into: Results) -> None:
    """Measure plain greedy decoding: long completions of short prompts, without drafts."""
    for n, ids in enumerate(prompts):
        await request_all(sides, TimedRequest(ids, DECODE_TOKENS, f"decode-{n}", drafts=False), "decode", n, into)


async def measure_rewrites(sides: Sequence[Side], recordings: Sequence[Recording], into: Results) -> None:
    """Measure rewrites with the original text prefilled; our side also without drafts.

    Our side is forced to generate the recorded edit, so a draft is accepted only where the edit agrees.
    """
    for n, edit in enumerate(recordings):
        ask = TimedRequest(edit.prompt, len(edit.answer), f"rewrite-{n}", forced=edit.answer, prediction=edit.before)
        ways = {"rewrite": ask, "plain rewrite": replace(ask, drafts=False)}
        for side in sides:
            await side.answer(replace(ask, tokens=1, forced=edit.answer[:1]))
        for kind, way in ways.items() if n % 2 == 0 else reversed(ways.items()):
            await request_all(sides if kind == "rewrite" else sides[:1], way, kind, n, into)


async def measure_streams(sides: Sequence[Side], prompts: Sequence[list[int]], into: Results) -> None:
    """Measure concurrent requests: first token, and gaps between parts."""
    for side in sides:
        if side.parallel:
            asked = (side.answer(TimedRequest(ids, STREAM_TOKENS, f"stream-{n}")) for n, ids in enumerate(prompts))
            into.streams[side.name] = await asyncio.gather(*asked)


async def measure_during_chat(
    sides: Sequence[Side], prompts: Sequence[list[int]], tokens: int, into: Results, patience: float = PATIENCE
) -> None:
    """Measure completions on an idle server and during a long chat. Sides without chat are skipped."""
    half = len(prompts) // 2
    for side in sides:
        if not side.parallel:
            continue
        waits = Waits()
        await _typing(side, prompts[:half], tokens, waits.idle, patience)
        with suppress(NoChatError):
            async with busy_with_chat(side) as waits.steps:
                await _typing(side, prompts[half:], tokens, waits.busy, patience)
            into.waits[side.name] = waits


async def _typing(side: Side, prompts: Sequence[list[int]], tokens: int, into: list[float], patience: float) -> None:
    """Send requests one after the other, at least one, with the same pauses for all sides."""
    dice, started = Random(0), time.perf_counter()
    for ids in prompts:
        await asyncio.sleep(dice.random() * LONGEST_PAUSE)
        into.append((await side.answer(TimedRequest(ids, tokens, "typed"))).first)
        if time.perf_counter() - started > patience:
            return


async def request_all(sides: Sequence[Side], ask: TimedRequest, kind: str, n: int, into: Results) -> None:
    """Send one request to every side; the order alternates."""
    for side in sides if n % 2 == 0 else reversed(sides):
        into.samples.append(Sample(side.name, kind, n, await side.answer(ask)))


EVERY_SECONDS = 0.25


@asynccontextmanager
async def watch_memory(pids: Iterable[int]) -> AsyncIterator[dict[int, int]]:
    """Sample the peak resident memory of processes, in bytes. Inaccessible processes are left out."""
    seen: dict[int, int] = {}
    watching = asyncio.ensure_future(_watch(list(pids), seen))
    try:
        yield seen
    finally:
        watching.cancel()


async def _watch(pids: list[int], seen: dict[int, int]) -> None:
    while True:
        for pid in pids:
            try:
                seen[pid] = max(seen.get(pid, 0), psutil.Process(pid).memory_info().rss)
            except psutil.Error:
                continue
        await asyncio.sleep(EVERY_SECONDS)
