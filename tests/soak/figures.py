"""The report of a soak test: printed, and appended to the file that ``SOAK_FIGURES`` names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from soak.kills import Kill
from soak.typing_user import TypingUser
from soak.watch import growth

from lsp_server.benchmark.bench_figures import percentile

FILE = "SOAK_FIGURES"
MB = 1_000_000


def tell(lines: Sequence[str]) -> None:
    text = "\n".join([*lines, "", ""])
    print(text)  # noqa: T201
    if os.environ.get(FILE):
        with Path(os.environ[FILE]).open("a", encoding="utf-8") as file:
            file.write(text)


def slowest(user: TypingUser) -> float:
    """Return the 95th percentile of a user's latencies in seconds."""
    return percentile(user.account.waits, 0.95)


def spread(values: Sequence[float]) -> float:
    """Return the largest value as a multiple of the smallest."""
    return max(values) / min(values)


def of_typing(
    users: Sequence[TypingUser], memory: dict[int, list[int]], stats: dict[str, Any], seconds: float
) -> list[str]:
    """Report users typing on one engine: ``memory`` by process, ``stats`` of the engine."""
    accounts = [user.account for user in users]
    p95, awaited = [slowest(user) for user in users], [len(a.waits) for a in accounts]
    return [
        f"{len(users)} sessions typing on one engine for {seconds:.0f} s",
        "window   asked   shown   empty  cancelled  waited for  median ms   p95 ms  own MB  growth in 2nd half",
        *(_row(n, user, memory[user.window.pid]) for n, user in enumerate(users, 1)),
        f"requests: {sum(a.asked for a in accounts)}, answered or cancelled: {sum(a.settled for a in accounts)}",
        f"largest / smallest of the sessions' p95: {spread(p95):.2f}; of awaited responses: {spread(awaited):.2f}",
        f"engine, one process: {_memory(memory[stats['engine']['pid']])}",
        f"engine's answers: {_answers(stats)}",
    ]


def of_kills(kills: Sequence[Kill], wrong: Sequence[str], windows: int) -> list[str]:
    """Report engines killed while ``windows`` sessions type."""
    back = [kill.recovered for kill in kills if kill.recovered is not None]
    busy = [kill.pending for kill in kills]
    return [
        f"kill -9 of the engine, {len(kills)} times, {sum(kill.loading for kill in kills)} of them as it was loading",
        f"requests in flight at a kill: {sum(busy)} in all, at most {max(busy)}",
        f"seconds until all sessions had an engine again: median {median(back):.1f}, at most {max(back):.1f}",
        f"completions requested right after: {len(back) * windows}, unlike an undisturbed engine's: {len(wrong)}",
    ]


def _row(n: int, user: TypingUser, memory: Sequence[int]) -> str:
    a = user.account
    counts = f"{a.asked:8}{a.shown:8}{a.empty:8}{a.cancelled:11}{len(a.waits):12}"
    times = f"{median(a.waits) * 1000:11.0f}{slowest(user) * 1000:9.0f}"
    return f"{n:6}{counts}{times}{memory[-1] / MB:8.1f}{growth(memory):20.1%}"


def _memory(samples: Sequence[int]) -> str:
    return f"{samples[-1] / MB:.0f} MB of its own, at most {max(samples) / MB:.0f}; second half {growth(samples):+.1%}"


def _answers(stats: dict[str, Any]) -> str:
    kinds = ("completion", "prefetch")
    return "; ".join(f"{k} " + ", ".join(f"{n} {end}" for end, n in stats["answers"][k].items()) for k in kinds)
