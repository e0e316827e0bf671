"""What a soak tells a person: plain text, printed and, where ``SOAK_FIGURES`` names a file, added to it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from soak.kills import Kill
from soak.person import Person
from soak.watch import growth

from lsp_server.benchmark.bench_figures import percentile

FILE = "SOAK_FIGURES"
MB = 1_000_000


def tell(lines: Sequence[str]) -> None:
    text = "\n".join([*lines, "", ""])
    print(text)  # noqa: T201  figures are for a person
    if os.environ.get(FILE):
        with Path(os.environ[FILE]).open("a", encoding="utf-8") as file:
            file.write(text)


def slowest(person: Person) -> float:
    """The 95th percentile of the seconds that this person waited."""
    return percentile(person.account.waits, 0.95)


def spread(values: Sequence[float]) -> float:
    """The largest as a multiple of the smallest."""
    return max(values) / min(values)


def of_typing(
    people: Sequence[Person], memory: dict[int, list[int]], stats: dict[str, Any], seconds: float
) -> list[str]:
    """Of windows at work on one engine: ``memory`` by process, ``stats`` the engine's own count."""
    accounts = [person.account for person in people]
    p95, looks = [slowest(person) for person in people], [len(a.waits) for a in accounts]
    return [
        f"{len(people)} windows typing on one engine for {seconds:.0f} s",
        "window   asked   shown   empty  cancelled  waited for  median ms   p95 ms  own MB  growth in 2nd half",
        *(_row(n, person, memory[person.window.pid]) for n, person in enumerate(people, 1)),
        f"requests: {sum(a.asked for a in accounts)}, answered or cancelled: {sum(a.settled for a in accounts)}",
        f"largest / smallest of the windows' p95: {spread(p95):.2f}; of their answers waited for: {spread(looks):.2f}",
        f"engine, one process: {_memory(memory[stats['engine']['pid']])}",
        f"engine's answers: {_answers(stats)}",
    ]


def of_kills(kills: Sequence[Kill], wrong: Sequence[str], windows: int) -> list[str]:
    """Of engines killed under ``windows`` at work."""
    back = [kill.recovered for kill in kills if kill.recovered is not None]
    busy = [kill.under_way for kill in kills]
    return [
        f"kill -9 of the engine, {len(kills)} times, {sum(kill.loading for kill in kills)} of them as it was loading",
        f"requests under way at a kill: {sum(busy)} in all, at most {max(busy)}",
        f"seconds until all windows had an engine again: median {median(back):.1f}, at most {max(back):.1f}",
        f"completions asked right after: {len(back) * windows}, unlike an undisturbed engine's: {len(wrong)}",
    ]


def _row(n: int, person: Person, memory: Sequence[int]) -> str:
    a = person.account
    counts = f"{a.asked:8}{a.shown:8}{a.empty:8}{a.cancelled:11}{len(a.waits):12}"
    times = f"{median(a.waits) * 1000:11.0f}{slowest(person) * 1000:9.0f}"
    return f"{n:6}{counts}{times}{memory[-1] / MB:8.1f}{growth(memory):20.1%}"


def _memory(samples: Sequence[int]) -> str:
    return f"{samples[-1] / MB:.0f} MB of its own, at most {max(samples) / MB:.0f}; second half {growth(samples):+.1%}"


def _answers(stats: dict[str, Any]) -> str:
    kinds = ("completion", "prefetch")
    return "; ".join(f"{k} " + ", ".join(f"{n} {end}" for end, n in stats["answers"][k].items()) for k in kinds)
