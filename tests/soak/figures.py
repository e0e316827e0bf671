"""The report of a soak test: plain text, printed and appended to the file that ``SOAK_FIGURES`` names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from soak.kills import Kill
from soak.process_memory import growth
from soak.typist import SimulatedTypist

from lsp_server.benchmark.bench_figures import percentile

FILE = "SOAK_FIGURES"
MB = 1_000_000


def report(lines: Sequence[str]) -> None:
    text = "\n".join([*lines, "", ""])
    print(text)  # noqa: T201
    if os.environ.get(FILE):
        with Path(os.environ[FILE]).open("a", encoding="utf-8") as file:
            file.write(text)


def p95_wait(typist: SimulatedTypist) -> float:
    """Return the 95th percentile of a typist's waiting times in seconds."""
    return percentile(typist.counts.waits, 0.95)


def spread(values: Sequence[float]) -> float:
    """Return the largest value divided by the smallest."""
    return max(values) / min(values)


def typing_report(
    typists: Sequence[SimulatedTypist], memory: dict[int, list[int]], stats: dict[str, Any], seconds: float
) -> list[str]:
    """Return the report about typing. ``memory``: samples by pid, ``stats``: the engine's own counters."""
    counts = [typist.counts for typist in typists]
    p95, waits = [p95_wait(typist) for typist in typists], [len(c.waits) for c in counts]
    return [
        f"{len(typists)} editors typing on one engine for {seconds:.0f} s",
        "editor    sent suggested  empty  cancelled  waited for  median ms   p95 ms  own MB  growth in 2nd half",
        *(_row(n, typist, memory[typist.window.pid]) for n, typist in enumerate(typists, 1)),
        f"requests: {sum(c.sent for c in counts)}, with a response or cancelled: {sum(c.settled for c in counts)}",
        f"largest / smallest p95 of an editor: {spread(p95):.2f}; number of waits: {spread(waits):.2f}",
        f"engine, one process: {_memory(memory[stats['engine']['pid']])}",
        f"generations by the engine: {_generations(stats)}",
    ]


def kills_report(kills: Sequence[Kill], wrong: Sequence[str], editors: int) -> list[str]:
    """Return the report about engines killed while ``editors`` typed."""
    recovered = [kill.recovered for kill in kills if kill.recovered is not None]
    pending = [kill.pending for kill in kills]
    return [
        f"kill -9 of the engine, {len(kills)} times, {sum(kill.loading for kill in kills)} of them while loading",
        f"requests pending at a kill: {sum(pending)} in total, at most {max(pending)}",
        f"seconds until all editors had an engine again: median {median(recovered):.1f}, at most {max(recovered):.1f}",
        f"completions requested right after: {len(recovered) * editors}, other than expected: {len(wrong)}",
    ]


def _row(n: int, typist: SimulatedTypist, memory: Sequence[int]) -> str:
    c = typist.counts
    counts = f"{c.sent:8}{c.suggested:10}{c.empty:7}{c.cancelled:11}{len(c.waits):12}"
    times = f"{median(c.waits) * 1000:11.0f}{p95_wait(typist) * 1000:9.0f}"
    return f"{n:6}{counts}{times}{memory[-1] / MB:8.1f}{growth(memory):20.1%}"


def _memory(samples: Sequence[int]) -> str:
    return f"{samples[-1] / MB:.0f} MB private, at most {max(samples) / MB:.0f}; second half {growth(samples):+.1%}"


def _generations(stats: dict[str, Any]) -> str:
    kinds = ("completion", "prefetch")
    return "; ".join(f"{k} " + ", ".join(f"{n} {end}" for end, n in stats["answers"][k].items()) for k in kinds)
