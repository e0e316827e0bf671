"""One model thread, stepped: between any two steps it turns to the most urgent job.

Knows neither models nor HTTP: a job is a generator, one ``next()`` is one step. So a completion overtakes a running
chat between two tokens, and cancelling frees the model within one step.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from inference.generation.answer import Event, Failed, Finished, Steps
from inference.models.adapters import AdapterError
from inference.serving.wire import PRIORITIES, Priority
from inference.text.prompts import PromptError

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """One answer under way. ``emit`` is called on the model thread, once per event, the last one being final."""

    begin: Callable[[], Steps]
    emit: Callable[[Event], object]
    urgency: tuple[int, int]
    submitted: float = field(default_factory=time.perf_counter)
    queued_ms: float = 0.0
    steps: Steps | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)


class Scheduler:
    """The queue in front of the model thread. ``submit`` and ``cancel`` may be called from any thread."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self._changed = threading.Condition()
        self._order = itertools.count()
        self._closed = False

    def submit(self, begin: Callable[[], Steps], priority: Priority, emit: Callable[[Event], object]) -> Job:
        """Queue an answer; ``begin`` is called on the model thread when its turn comes."""
        job = Job(begin, emit, (PRIORITIES.index(priority), next(self._order)))
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        return job

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

    def run(self) -> None:
        """The model thread's life: step the most urgent job until closed."""
        while (job := self._next()) is not None:
            if job.cancelled.is_set() or self._step(job):
                self._end(job)
        for job in list(self._jobs):
            self._end(job)
            job.emit(Failed("The engine is shutting down.", "unavailable"))

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            return None if self._closed else min(self._jobs, key=lambda job: job.urgency)

    def _step(self, job: Job) -> bool:
        """One step of ``job``; true when it has ended. An error belongs to who waits, never to the thread."""
        try:
            if job.steps is None:
                job.queued_ms = (time.perf_counter() - job.submitted) * 1000
                job.steps = job.begin()
            event = next(job.steps, None)
        except PromptError as error:
            event = Failed(str(error), "invalid_request_error")
        except AdapterError as error:
            event = Failed(str(error), "invalid_request_error", "model")
        except Exception as error:
            log.exception("a generation failed")
            event = Failed(_in_words(error))
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
    if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
        return "The model ran out of memory for this request; shorten the context or choose a smaller model."
    return f"The engine failed at this request ({type(error).__name__}); its log has the details."
