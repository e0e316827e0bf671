"""In-flight generations: completions that the backend is streaming, shared by successive requests.

While the user types along a suggestion, each keystroke makes a request. The newer request follows the generation that
the older one started. A generation that no request can use is stopped. The caller decides if a text still matches its
cursor.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

from inference.api.events import Finished, Outcome, TextChunk, TokenProbability
from lsp_server.concurrency import cancel_once

LINGER = 0.15
"""Seconds that a generation goes on after its last request was cancelled. VS Code cancels a request at each keystroke
before it sends the next one."""

P = TypeVar("P")
Events = AsyncGenerator[TextChunk | Finished, None]
OnFinished = Callable[["Generation[P]"], Awaitable[None]]
"""Processes a complete generation. Followers are notified after it returns."""


class Generation(Generic[P]):
    """One streamed completion.

    Attributes:
        origin: the caller's data, such as the request that started it.
        is_prefetch: no request waits for it yet.
        text: the text so far; ``tokens`` are its tokens, if their probabilities were requested.
        outcome: set when the model has finished. From then on ``stop`` has no effect: the model is free, and the
            complete text is kept.
        adapter: the adapter that was used; empty for none. Set when the model has finished.
    """

    def __init__(self, origin: P, *, is_prefetch: bool = False) -> None:
        self.origin = origin
        self.is_prefetch = is_prefetch
        self.text = ""
        self.tokens: list[TokenProbability] = []
        self.outcome: Outcome | None = None
        self.adapter = ""
        self._error: Exception | None = None
        self._ended = self._stopped = self._complete = False
        self._followers = 0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Return whether it has neither ended nor been stopped."""
        return not (self._ended or self._stopped)

    @property
    def has_started(self) -> bool:
        """Return whether the model has produced text, or finished without any."""
        return bool(self.text) or self.outcome is not None

    @property
    def has_followers(self) -> bool:
        """Return whether a request follows it."""
        return bool(self._followers)

    def start(self, events: Events, on_finished: OnFinished[P]) -> asyncio.Task[None]:
        """Consume ``events`` in a task; run ``on_finished`` if the model finishes without an error."""
        self._task = task = asyncio.ensure_future(self._consume(events, on_finished))
        task.add_done_callback(lambda _: self._end())  # also if the task is cancelled before it starts
        return task

    async def follow(self, matches: Callable[[str], bool], *, linger: bool) -> bool:
        """Wait for the end. Return False as soon as the text does not match, or if it is stopped.

        A generation without followers is stopped when its text does not match. It is also stopped when its last
        follower is cancelled; with ``linger`` only after ``LINGER`` seconds, so that the next request can join.
        Raises the backend's error.
        """
        self._followers += 1
        try:
            try:
                matched = await self._wait_while(matches)
            finally:
                self._followers -= 1
        except asyncio.CancelledError:
            if linger:
                asyncio.get_running_loop().call_later(LINGER, self._stop_if_unused)
            else:
                await self._leave()
            raise
        self._stop_if_unused()
        return matched

    def stop(self) -> None:
        """Close the backend's stream, which frees the model."""
        if self.outcome is not None:
            return
        self._stopped = True
        if self._task is not None:
            cancel_once(self._task)

    async def _wait_while(self, matches: Callable[[str], bool]) -> bool:
        while matches(self.text):
            if self._ended:
                return self._result()
            await self._changed.wait()
        return False

    async def _leave(self) -> None:
        """Stop the generation if it has no other follower, and wait until the stream is closed."""
        self._stop_if_unused()
        if self._stopped and self._task is not None:
            await asyncio.wait([self._task])

    def _stop_if_unused(self) -> None:
        if not self.has_followers and not self._ended:
            self.stop()

    def _result(self) -> bool:
        if self._error:
            raise self._error
        return self._complete

    async def _consume(self, events: Events, on_finished: OnFinished[P]) -> None:
        try:
            outcome = None
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, TextChunk):
                        self.text += event.text
                        self.tokens += event.tokens
                        self._notify()
                    else:
                        outcome, self.adapter = event.outcome, event.adapter
            self.outcome = outcome
            if outcome is not None:
                await on_finished(self)
                self._complete = True
        except Exception as error:  # raised again in the followers
            self._error = error

    def _end(self) -> None:
        self._ended = True
        self._task = None  # break the reference cycle through a cancelled task's traceback: it holds a whole document
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class InFlightGenerations(Generic[P]):
    """The in-flight generations of each document."""

    def __init__(self) -> None:
        self._running: dict[str, list[Generation[P]]] = {}

    def start(self, key: str, generation: Generation[P], events: Events, on_finished: OnFinished[P]) -> Generation[P]:
        """Start a generation for the document ``key``."""
        self._running.setdefault(key, []).append(generation)
        generation.start(events, on_finished).add_done_callback(lambda _: self._forget(key, generation))
        return generation

    def find(
        self,
        key: str,
        matches: Callable[[Generation[P]], bool],
        keep: Callable[[Generation[P]], bool] = lambda _: False,
    ) -> Generation[P] | None:
        """Return the newest generation that matches. Stop all others without followers, except those to ``keep``."""
        found = None
        for generation in reversed(self._running.get(key, [])):
            if found is None and generation.is_running and matches(generation):
                found = generation
            elif not generation.has_followers and not keep(generation):
                generation.stop()
        return found

    def any_running(self, key: str, matches: Callable[[Generation[P]], bool]) -> bool:
        """Return whether a generation matches. Unlike ``find``, stop none."""
        return any(map(matches, self._running.get(key, [])))

    def stop_all(self) -> None:
        """Stop the generations of all documents."""
        for generations in self._running.values():
            for generation in generations:
                generation.stop()

    def _forget(self, key: str, generation: Generation[P]) -> None:
        self._running[key].remove(generation)
        if not self._running[key]:
            del self._running[key]
