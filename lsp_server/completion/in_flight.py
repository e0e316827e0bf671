"""What the engine is writing right now, for requests that come and go while it does.

A person who types what is being written makes a request at each key. The newer request goes on with what the older one
began; only what nobody can use any more is stopped. Knows neither keys nor places: whoever follows a generation says
whether its text still suits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

from inference.api.events import Finished, Outcome, TextChunk, TokenProbability
from lsp_server.concurrency import cancel_once

LINGER = 0.15
"""Seconds that a generation goes on when the last request that followed it was cancelled: an editor that cancels at
each key (VS Code) makes the next request only then."""

P = TypeVar("P")
Events = AsyncGenerator[TextChunk | Finished, None]
Then = Callable[["Generation[P]"], Awaitable[None]]
"""What is to be done with an answer that has been written whole, before whoever follows it learns of it."""


class Generation(Generic[P]):
    """One answer under way. ``origin`` is whatever the caller knows it by; ``ahead``: nobody has asked for it yet.

    Attributes:
        text: as far as it is written; ``tokens`` are those of it, where they were asked for.
        outcome: once the model has written all of it. From then on nothing stops it: no model works for it any more,
            and what is written whole is kept.
        adapter: the one that the answer was written under, once it is whole; empty for none.
    """

    def __init__(self, origin: P, *, ahead: bool = False) -> None:
        self.origin = origin
        self.ahead = ahead
        self.text = ""
        self.tokens: list[TokenProbability] = []
        self.outcome: Outcome | None = None
        self.adapter = ""
        self._error: Exception | None = None
        self._ended = self._stopped = self._whole = False
        self._followers = 0
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def goes_on(self) -> bool:
        """More may come of it."""
        return not (self._ended or self._stopped)

    @property
    def begun(self) -> bool:
        """The model has said something, or that there is nothing to say."""
        return bool(self.text) or self.outcome is not None

    @property
    def alone(self) -> bool:
        """No request follows it."""
        return not self._followers

    def write(self, events: Events, then: Then[P]) -> asyncio.Task[None]:
        """Begin; ``then`` is done when the model has ended well."""
        self._task = task = asyncio.ensure_future(self._write(events, then))
        task.add_done_callback(lambda _: self._end())  # also of a task that is cancelled before it begins
        return task

    async def follow(self, suits: Callable[[str], bool], *, patient: bool) -> bool:
        """True when it has ended well, false as soon as its text does not suit, or when it was stopped.

        What no other request follows is stopped when its text does not suit; and when this one is cancelled, but if
        ``patient`` not until another has had the time to come. Raises what the engine raised.
        """
        self._followers += 1
        try:
            try:
                suited = await self._to_the_end(suits)
            finally:
                self._followers -= 1
        except asyncio.CancelledError:
            if patient:
                asyncio.get_running_loop().call_later(LINGER, self._stop_if_alone)
            else:
                await self._leave()
            raise
        self._stop_if_alone()
        return suited

    def stop(self) -> None:
        """Leave the engine's stream: that frees the model."""
        if self.outcome is not None:
            return
        self._stopped = True
        if self._task is not None:
            cancel_once(self._task)

    async def _to_the_end(self, suits: Callable[[str], bool]) -> bool:
        while suits(self.text):
            if self._ended:
                return self._result()
            await self._moved.wait()
        return False

    async def _leave(self) -> None:
        """Stop it unless another request follows it, and see the stream closed."""
        self._stop_if_alone()
        if self._stopped and self._task is not None:
            await asyncio.wait([self._task])

    def _stop_if_alone(self) -> None:
        if self.alone and not self._ended:
            self.stop()

    def _result(self) -> bool:
        if self._error:
            raise self._error
        return self._whole

    async def _write(self, events: Events, then: Then[P]) -> None:
        try:
            outcome = None
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, TextChunk):
                        self.text += event.text
                        self.tokens += event.tokens
                        self._tell()
                    else:
                        outcome, self.adapter = event.outcome, event.adapter
            self.outcome = outcome
            if outcome is not None:
                await then(self)
                self._whole = True
        except Exception as error:  # belongs to whoever follows
            self._error = error

    def _end(self) -> None:
        self._ended = True
        self._task = None  # its error, if it was cancelled, has frames that hold this: a circle with a whole document
        self._tell()

    def _tell(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


class InFlightGenerations(Generic[P]):
    """All that are under way, by document."""

    def __init__(self) -> None:
        self._under_way: dict[str, list[Generation[P]]] = {}

    def begin(self, key: str, generation: Generation[P], events: Events, then: Then[P]) -> Generation[P]:
        """Start one."""
        self._under_way.setdefault(key, []).append(generation)
        generation.write(events, then).add_done_callback(lambda _: self._forget(key, generation))
        return generation

    def find(
        self,
        key: str,
        suits: Callable[[Generation[P]], bool],
        wanted: Callable[[Generation[P]], bool] = lambda _: False,
    ) -> Generation[P] | None:
        """The newest that suits. Of the others those that nobody follows, and that are not ``wanted``, are stopped."""
        found = None
        for generation in reversed(self._under_way.get(key, [])):
            if found is None and generation.goes_on and suits(generation):
                found = generation
            elif generation.alone and not wanted(generation):
                generation.stop()
        return found

    def under_way(self, key: str, suits: Callable[[Generation[P]], bool]) -> bool:
        """Is there one that suits? Stops none."""
        return any(map(suits, self._under_way.get(key, [])))

    def stop(self) -> None:
        """All of them."""
        for generations in self._under_way.values():
            for generation in generations:
                generation.stop()

    def _forget(self, key: str, generation: Generation[P]) -> None:
        self._under_way[key].remove(generation)
        if not self._under_way[key]:
            del self._under_way[key]
