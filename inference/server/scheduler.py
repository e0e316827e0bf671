"""Step scheduling: strict priority with a bounded wait.

One model thread runs all requests. A job is a generator, and each ``next()`` is one model step: a decode forward or a
prefill chunk. The scheduler picks a job before every step. A completion therefore overtakes a running chat between two
tokens, and cancelling a request frees the model within one step.

Priority: completions come before chats, and chats before prefetches. Strict priority alone would let a few busy
sessions starve every chat, so a class that has had no step for ``MAX_WAIT_SECONDS`` gets one. The bound is in seconds
rather than in steps because users wait in seconds. It costs a completion at most one step every half second, and most
completions take less time than that.

Fairness within a class: editor sessions take turns. A turn ends with the request, or after ``TURN_SECONDS`` if another
session waits and the request has produced text. Prefilling a long prompt may take longer than that, so it is
interrupted: after each ``TURN_SECONDS`` of prefill, another session runs for ``INTERRUPTION_SECONDS``. Two prompts that
don't fit into KV memory together evict each other's keys and values, so the interval between interruptions grows by a
quarter each time. The prefill then ends eventually.
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
from inference.engine.out_of_memory import OutOfMemoryError, is_out_of_memory
from inference.models.adapter_store import AdapterError
from inference.text.prompts import PromptError

log = logging.getLogger(__name__)

MAX_WAIT_SECONDS: Mapping[Priority, float] = {"completion": 0.0, "chat": 0.5, "prefetch": 2.0}
"""Seconds without a step after which a class gets one, whatever else waits. Completions come first anyway."""

TURN_SECONDS = 0.5
"""Length of a session's turn, and of the first stretch of a prefill between two interruptions."""

INTERRUPTION_SECONDS = 0.25
"""Seconds that another session runs when it interrupts a prefill."""

MAX_REMEMBERED_SESSIONS = 256
"""Sessions whose last turn is remembered. Nobody has as many editors open."""

CLOSED = Failed("The engine is shutting down.", "unavailable")
TOO_LATE = Failed("The engine was too busy to begin with this request in time.", "unavailable")


class Schedulable(Protocol):
    """The fields of a job that the scheduling policy reads. Times are in seconds on the caller's clock."""

    priority: Priority
    session: str
    number: int
    submitted: float


J = TypeVar("J", bound=Schedulable)


@dataclass(slots=True)
class SessionTurn:
    """The current turn within one priority class.

    Attributes:
        number: the job whose turn it is.
        since: start of the turn, in seconds.
        switched: start of the current interruption, or end of the last one, in seconds.
        grown: the job has produced text.
        interrupter: the job that is interrupting the prefill, or None.
        interruptions: how many there were in this turn.
    """

    number: int
    since: float
    switched: float
    grown: bool = False
    interrupter: int | None = None
    interruptions: int = 0

    @property
    def stretch(self) -> float:
        """Seconds of prefill until the next interruption."""
        return TURN_SECONDS * (1 + self.interruptions / 4)


class SchedulingPolicy:
    """Chooses the job that runs the next step. Pure: the caller passes the time."""

    def __init__(self) -> None:
        self._stepped: dict[Priority, float] = {}
        self._turns: dict[Priority, SessionTurn] = {}
        self._served: OrderedDict[tuple[Priority, str], int] = OrderedDict()
        self._count = 0

    def next(self, jobs: Iterable[J], now: float) -> J:
        """Return the job to step at ``now`` and record that it was stepped. ``jobs`` must not be empty."""
        classes: dict[Priority, list[J]] = {}
        for job in jobs:
            classes.setdefault(job.priority, []).append(job)
        priority = self._priority_class(classes, now)
        job = self._within(priority, classes[priority], now)
        self._stepped[priority] = now
        return job

    def grew(self, job: Schedulable) -> None:
        """Record that ``job`` has produced text, so that its turn may end."""
        turn = self._turns.get(job.priority)
        if turn is not None and turn.number == job.number:
            turn.grown = True

    def _priority_class(self, classes: Mapping[Priority, list[J]], now: float) -> Priority:
        """Return the most urgent class, or the one that has waited longest beyond its bound."""
        urgent = min(classes, key=PRIORITIES.index)
        since: dict[Priority, float] = {
            p: max(self._stepped.get(p, 0.0), min(j.submitted for j in jobs)) for p, jobs in classes.items()
        }
        overdue: list[Priority] = [p for p in classes if p != urgent and now - since[p] >= MAX_WAIT_SECONDS[p]]
        return min(overdue, key=lambda p: since[p]) if overdue else urgent

    def _within(self, priority: Priority, jobs: list[J], now: float) -> J:
        turn = self._turns.get(priority)
        current = next((job for job in jobs if turn and job.number == turn.number), None)
        if current is not None and turn is not None and not self._turn_is_over(turn, current, jobs, now):
            others = [] if turn.grown else [job for job in jobs if job.session != current.session]
            return self._interrupter(turn, others, now) or current
        job = self._longest_unserved(jobs)
        self._turns[priority] = SessionTurn(job.number, now, now)
        return job

    def _interrupter(self, turn: SessionTurn, others: list[J], now: float) -> J | None:
        """Return the job of another session that interrupts the prefill now, or None."""
        interrupter = next((job for job in others if job.number == turn.interrupter), None)
        if interrupter is not None and now - turn.switched < INTERRUPTION_SECONDS:
            return interrupter
        if turn.interrupter is not None:
            turn.interrupter, turn.switched = None, now
        elif others and now - turn.switched >= turn.stretch:
            job = self._longest_unserved(others)
            turn.interrupter, turn.switched, turn.interruptions = job.number, now, turn.interruptions + 1
            return job
        return None

    def _longest_unserved(self, jobs: list[J]) -> J:
        """Return the oldest job of the session whose last turn is longest ago, and count it as served."""
        job = min(jobs, key=lambda j: (self._served.get((j.priority, j.session), 0), j.number))
        self._serve(job.priority, job.session)
        return job

    def _turn_is_over(self, turn: SessionTurn, current: J, jobs: list[J], now: float) -> bool:
        others = any(job.session != current.session for job in jobs)
        return others and turn.grown and now - turn.since >= TURN_SECONDS

    def _serve(self, priority: Priority, session: str) -> None:
        self._count += 1
        self._served[priority, session] = self._count
        self._served.move_to_end((priority, session))
        if len(self._served) > MAX_REMEMBERED_SESSIONS:
            self._served.popitem(last=False)


@dataclass(eq=False)
class Job:
    """One queued or running generation.

    Attributes:
        begin: called on the model thread; returns the steps.
        emit: called on the model thread with each event. The last event is ``Finished`` or ``Failed``.
        session: the editor session that it belongs to.
        submitted: when it was queued, on the scheduler's clock.
        expires: when it fails if it has not begun, on the same clock, or None.
    """

    begin: Callable[[], Steps]
    emit: Callable[[Event], object]
    priority: Priority
    session: str
    number: int
    submitted: float
    expires: float | None
    queued_ms: float = 0.0
    steps: Steps | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)


class Scheduler:
    """The queue in front of the model thread. All methods but ``run`` may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._jobs: list[Job] = []
        self._calls: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._policy = SchedulingPolicy()
        self._closed = False

    def submit(
        self,
        begin: Callable[[], Steps],
        priority: Priority,
        emit: Callable[[Event], object],
        session: str = "",
        expires: float | None = None,
    ) -> Job:
        """Queue a generation for ``session``; ``begin`` is called on the model thread when it is scheduled.

        A job that has not begun at ``expires`` (seconds on the scheduler's clock) fails with ``TOO_LATE``.
        """
        job = Job(begin, emit, priority, session, next(self._numbers), self._clock(), expires)
        with self._changed:
            if not self._closed:
                self._jobs.append(job)
                self._changed.notify()
                return job
        emit(CLOSED)
        return job

    def call(self, function: Callable[[], object]) -> None:
        """Call ``function`` on the model thread before the next step. It must handle its own errors."""
        with self._changed:
            self._calls.append(function)
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Stop ``job`` before its next step. Does nothing if it has ended."""
        job.cancelled.set()
        with self._changed:
            self._changed.notify()

    def close(self) -> None:
        """End ``run`` after the current step. All jobs fail with ``CLOSED``."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    @property
    def waiting(self) -> int:
        """Number of jobs that are queued or running."""
        return len(self._jobs)

    def waiting_for(self, session: str) -> int:
        """Return the number of jobs of ``session`` that are queued or running."""
        return sum(job.session == session for job in list(self._jobs))

    def run(self) -> None:
        """Run calls and steps on the current thread, the model thread, until closed."""
        while (work := self._next()) is not None:
            work()
            del work  # it may reference a whole model, which must not stay in memory while waiting
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
                    return partial(self._expire, job)
            return partial(self._advance, self._policy.next(self._jobs, now))

    def _advance(self, job: Job) -> None:
        if self._step(job):
            self._end(job)

    def _expire(self, job: Job) -> None:
        self._end(job)
        job.emit(TOO_LATE)

    def _step(self, job: Job) -> bool:
        """Run one step of ``job``; return whether the job has ended. Errors become ``Failed`` events."""
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
            event = Failed(_error_message(error))
        if isinstance(event, TextChunk):
            self._policy.grew(job)
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


def _error_message(error: Exception) -> str:
    if is_out_of_memory(error):
        return "The model ran out of memory for this request; shorten the context or choose a smaller model."
    return f"The engine failed at this request ({type(error).__name__}); its log has the details."
