"""Whose step is next: completions before chats before prefetches, windows in turn, and nobody waits for ever.

Pure: knows neither models nor threads nor real time; it is told the time.

Strict priority keeps typing quick, and alone it would let a few busy windows stop every chat. So a class that has not
had a step for its ``PATIENCE`` gets one: a bounded wait, measured in time rather than in steps because the promise is
made to a person. It costs a completion at most one step in half a second, which most completions do not last.

Within a class each window has its turn. A turn ends with its answer, or after ``TURN_SECONDS`` if another window waits
and the answer has grown. A long prompt takes longer than that to read. While it is read, the other windows have guest
turns of ``GUEST_SECONDS``, one after each share of ``TURN_SECONDS``. Two prompts too long for the memory that they
share take each other's keys and values away. So the share grows by a quarter each time, and the prompt is read in the
end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from inference.serving.wire import PRIORITIES, Priority

PATIENCE: Mapping[Priority, float] = {"completion": 0.0, "chat": 0.5, "prefetch": 2.0}
"""Seconds without a step after which a class gets one, whatever else waits. Completions come first anyway."""

TURN_SECONDS = 0.5

GUEST_SECONDS = 0.25

MOST_WINDOWS = 256
"""Windows of which it is known when they had their last turn; more than anybody has open."""


class Waiting(Protocol):
    """A job, as far as its order goes. Times are in seconds on the caller's clock."""

    priority: Priority
    window: str
    number: int
    submitted: float


J = TypeVar("J", bound=Waiting)


@dataclass(slots=True)
class Turn:
    """The job that the model works at, in one class.

    Attributes:
        guest: the number of the job that has a guest turn now.
        switched: when the guest turn began, or the last one ended.
        guests: guest turns so far.
    """

    number: int
    since: float
    switched: float
    grown: bool = False
    guest: int | None = None
    guests: int = 0

    @property
    def share(self) -> float:
        """Seconds until the next guest turn."""
        return TURN_SECONDS * (1 + self.guests / 4)


class Order:
    """Remembers who was served; asked before each step."""

    def __init__(self) -> None:
        self._stepped: dict[Priority, float] = {}
        self._turns: dict[Priority, Turn] = {}
        self._served: OrderedDict[tuple[Priority, str], int] = OrderedDict()
        self._count = 0

    def next(self, jobs: Iterable[J], now: float) -> J:
        """Whose step is next, and that it is taken at ``now``. There must be a job."""
        classes: dict[Priority, list[J]] = {}
        for job in jobs:
            classes.setdefault(job.priority, []).append(job)
        priority = self._class(classes, now)
        job = self._within(priority, classes[priority], now)
        self._stepped[priority] = now
        return job

    def grew(self, job: Waiting) -> None:
        """The answer of ``job`` has become longer."""
        turn = self._turns.get(job.priority)
        if turn is not None and turn.number == job.number:
            turn.grown = True

    def _class(self, classes: Mapping[Priority, list[J]], now: float) -> Priority:
        """The most urgent class, unless another has waited longer than it has to: then the one that did longest."""
        urgent = min(classes, key=PRIORITIES.index)
        since: dict[Priority, float] = {
            p: max(self._stepped.get(p, 0.0), min(j.submitted for j in jobs)) for p, jobs in classes.items()
        }
        late: list[Priority] = [p for p in classes if p != urgent and now - since[p] >= PATIENCE[p]]
        return min(late, key=lambda p: since[p]) if late else urgent

    def _within(self, priority: Priority, jobs: list[J], now: float) -> J:
        turn = self._turns.get(priority)
        current = next((job for job in jobs if turn and job.number == turn.number), None)
        if current is not None and turn is not None and not self._over(turn, current, jobs, now):
            others = [] if turn.grown else [job for job in jobs if job.window != current.window]
            return self._guest(turn, others, now) or current
        job = self._longest_unserved(jobs)
        self._turns[priority] = Turn(job.number, now, now)
        return job

    def _guest(self, turn: Turn, others: list[J], now: float) -> J | None:
        """The job of another window that has a guest turn, or None."""
        guest = next((job for job in others if job.number == turn.guest), None)
        if guest is not None and now - turn.switched < GUEST_SECONDS:
            return guest
        if turn.guest is not None:
            turn.guest, turn.switched = None, now
        elif others and now - turn.switched >= turn.share:
            guest = self._longest_unserved(others)
            turn.guest, turn.switched, turn.guests = guest.number, now, turn.guests + 1
            return guest
        return None

    def _longest_unserved(self, jobs: list[J]) -> J:
        """The first job of the window whose last turn is longest ago. It counts as served now."""
        job = min(jobs, key=lambda j: (self._served.get((j.priority, j.window), 0), j.number))
        self._serve(job.priority, job.window)
        return job

    def _over(self, turn: Turn, current: J, jobs: list[J], now: float) -> bool:
        others = any(job.window != current.window for job in jobs)
        return others and turn.grown and now - turn.since >= TURN_SECONDS

    def _serve(self, priority: Priority, window: str) -> None:
        self._count += 1
        self._served[priority, window] = self._count
        self._served.move_to_end((priority, window))
        if len(self._served) > MOST_WINDOWS:
            self._served.popitem(last=False)
