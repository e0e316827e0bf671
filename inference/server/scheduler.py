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

One model thread, stepped: between any two steps it turns to the job whose turn it is (``order``).

Knows neither models nor HTTP: a job is a generator, one ``next()`` is one step. So a completion overtakes a running
chat between two tokens, and cancelling frees the model within one step.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

from inference.api.events import Event, Failed, Finished, Steps, TextChunk
from inference.api.requests import PRIORITIES, Priority
from inference.engine.out_of_memory import OutOfMemoryError, is_shortage
from inference.models.adapter_store import AdapterError
from inference.text.prompts import PromptError

PATIENCE: Mapping[Priority, float] = {"completion": 0.0, "chat": 0.5, "prefetch": 2.0}
"""Seconds without a step after which a class gets one, whatever else waits. Completions come first anyway."""

TURN_SECONDS = 0.5

GUEST_SECONDS = 0.25

MOST_WINDOWS = 256
"""Windows of which it is known when they had their last turn; more than anybody has open."""


class WaitingJob(Protocol):
    """A job, as far as its order goes. Times are in seconds on the caller's clock."""

    priority: Priority
    window: str
    number: int
    submitted: float


J = TypeVar("J", bound=WaitingJob)


@dataclass(slots=True)
class StepTurn:
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


class SchedulingPolicy:
    """Remembers who was served; asked before each step."""

    def __init__(self) -> None:
        self._stepped: dict[Priority, float] = {}
        self._turns: dict[Priority, StepTurn] = {}
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

    def grew(self, job: WaitingJob) -> None:
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
        self._turns[priority] = StepTurn(job.number, now, now)
        return job

    def _guest(self, turn: StepTurn, others: list[J], now: float) -> J | None:
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

    def _over(self, turn: StepTurn, current: J, jobs: list[J], now: float) -> bool:
        others = any(job.window != current.window for job in jobs)
        return others and turn.grown and now - turn.since >= TURN_SECONDS

    def _serve(self, priority: Priority, window: str) -> None:
        self._count += 1
        self._served[priority, window] = self._count
        self._served.move_to_end((priority, window))
        if len(self._served) > MOST_WINDOWS:
            self._served.popitem(last=False)


log = logging.getLogger(__name__)

CLOSED = Failed("The engine is shutting down.", "unavailable")
TOO_LATE = Failed("The engine was too busy to begin with this request in time.", "unavailable")


@dataclass(eq=False)
class Job:
    """One answer under way. ``emit`` is called on the model thread, once per event, the last one being final."""

    begin: Callable[[], Steps]
    emit: Callable[[Event], object]
    priority: Priority
    window: str
    number: int
    submitted: float
    expires: float | None
    queued_ms: float = 0.0
    steps: Steps | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)


class Scheduler:
    """The queue in front of the model thread. All but ``run`` may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._jobs: list[Job] = []
        self._calls: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._order = SchedulingPolicy()
        self._closed = False

    def submit(
        self,
        begin: Callable[[], Steps],
        priority: Priority,
        emit: Callable[[Event], object],
        window: str = "",
        expires: float | None = None,
    ) -> Job:
        """Queue an answer for a ``window``; ``begin`` is called on the model thread when its turn comes.

        An answer that has not begun when the clock shows ``expires`` fails.
        """
        job = Job(begin, emit, priority, window, next(self._numbers), self._clock(), expires)
        with self._changed:
            if not self._closed:
                self._jobs.append(job)
                self._changed.notify()
                return job
        emit(CLOSED)
        return job

    def call(self, function: Callable[[], object]) -> None:
        """Have ``function`` called on the model thread before any further step. Its errors are its own affair."""
        with self._changed:
            self._calls.append(function)
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Stop ``job`` before its next step. Harmless when it has ended."""
        job.cancelled.set()
        with self._changed:
            self._changed.notify()

    def close(self) -> None:
        """End ``run`` after the current step; whoever waits is told."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    @property
    def waiting(self) -> int:
        """How many jobs are queued or running."""
        return len(self._jobs)

    def waiting_for(self, window: str) -> int:
        """How many of them are for ``window``."""
        return sum(job.window == window for job in list(self._jobs))

    def run(self) -> None:
        """The model thread's life: what is to be called, then step after step, until closed."""
        while (work := self._next()) is not None:
            work()
            del work  # it may hold a whole model, which is not to be kept in memory while waiting
        for job in list(self._jobs):
            self._end(job)
            job.emit(CLOSED)

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._calls or self._jobs or self._closed)
            if self._closed:
                return None
            if self._calls:
                return self._calls.popleft()
            now = self._clock()
            for job in self._jobs:
                if job.cancelled.is_set():
                    return partial(self._end, job)
                if job.steps is None and job.expires is not None and now > job.expires:
                    return partial(self._refuse, job)
            return partial(self._turn, self._order.next(self._jobs, now))

    def _turn(self, job: Job) -> None:
        if self._step(job):
            self._end(job)

    def _refuse(self, job: Job) -> None:
        self._end(job)
        job.emit(TOO_LATE)

    def _step(self, job: Job) -> bool:
        """One step of ``job``; true when it has ended. An error belongs to who waits, never to the thread."""
        try:
            if job.steps is None:
                job.queued_ms = (self._clock() - job.submitted) * 1000
                job.steps = job.begin()
            event = next(job.steps, None)
        except PromptError as error:
            event = Failed(str(error), "invalid_request_error")
        except OutOfMemoryError as error:
            event = Failed(str(error))
        except AdapterError as error:
            event = Failed(str(error), "invalid_request_error", "model")
        except Exception as error:
            log.exception("a generation failed")
            event = Failed(_in_words(error))
        if isinstance(event, TextChunk):
            self._order.grew(job)
        if isinstance(event, Finished):
            event = Finished(replace(event.outcome, queued_ms=job.queued_ms))
        if event is not None:
            job.emit(event)
        return isinstance(event, Finished | Failed)

    def _end(self, job: Job) -> None:
        with self._changed:
            self._jobs.remove(job)
        if job.steps is not None:
            job.steps.close()


def _in_words(error: Exception) -> str:
    if is_shortage(error):
        return "The model ran out of memory for this request; shorten the context or choose a smaller model."
    return f"The engine failed at this request ({type(error).__name__}); its log has the details."
