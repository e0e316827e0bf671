"""One model thread, stepped: between any two steps it turns to the job whose turn it is (``order``).

Knows neither models nor HTTP: a job is a generator, one ``next()`` is one step. So a completion overtakes a running
chat between two tokens, and cancelling frees the model within one step.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from inference.generation.answer import Event, Failed, Finished, Steps, TextChunk
from inference.generation.shortage import MemoryShortError, is_shortage
from inference.models.adapters import AdapterError
from inference.serving.order import Order
from inference.serving.wire import Priority
from inference.text.prompts import PromptError

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
        self._order = Order()
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
        except MemoryShortError as error:
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
