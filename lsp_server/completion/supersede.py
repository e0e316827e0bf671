"""Who is answered: of several requests for one document, the newest. Knows nothing of what they ask.

Neovim never cancels a request while its user types on, so the server has to. A request that was made by hand is not
superseded by one that typing made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from lsp_server.concurrency import cancel_once

T = TypeVar("T")


@dataclass(eq=False)
class RunningRequest:
    """One request under way. ``answered`` is done once its response has been written."""

    invoked: bool
    work: asyncio.Task[Any]
    answered: asyncio.Future[None]
    superseded: bool = False

    def give_way(self) -> None:
        """A newer request is there."""
        self.superseded = True
        cancel_once(self.work)


class RunningRequests:
    """The requests under way, by document."""

    def __init__(self) -> None:
        self._under_way: dict[str, list[RunningRequest]] = {}

    async def take(self, key: str, invoked: bool, work: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """The result of ``work``, or None if a newer request for ``key`` came meanwhile.

        Older requests are answered first, and before ``work`` begins. Must be called from the task whose end sends the
        response.
        """
        turns = self._under_way.setdefault(key, [])
        older = [turn for turn in turns if invoked or not turn.invoked]
        turn = _begin(invoked, _after(older, work))
        turns.append(turn)
        for t in older:
            t.give_way()
        try:
            return await turn.work
        except asyncio.CancelledError:
            if turn.superseded:
                await _all_answered(older)  # one that had not begun ends sooner than one that had
                return None
            raise
        finally:
            self._end(key, turn)

    def _end(self, key: str, turn: RunningRequest) -> None:
        self._under_way[key].remove(turn)
        if not self._under_way[key]:
            del self._under_way[key]


async def _after(older: list[RunningRequest], work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    await _all_answered(older)
    return await work()


async def _all_answered(turns: list[RunningRequest]) -> None:
    await asyncio.gather(*(asyncio.shield(turn.answered) for turn in turns))


def _begin(invoked: bool, work: Coroutine[Any, Any, T]) -> RunningRequest:
    answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    handler = asyncio.current_task()
    assert handler is not None, "called from a coroutine"
    # After the framework's own callback, which writes the response: callbacks run in the order they were added.
    handler.add_done_callback(lambda _: answered.set_result(None))
    return RunningRequest(invoked, asyncio.ensure_future(work), answered)
