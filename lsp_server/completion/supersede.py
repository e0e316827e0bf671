"""Superseding: of several requests for one document only the newest runs.

Neovim never cancels a request while its user types on, so the server has to. An automatic request does not supersede
one that the user invoked explicitly.
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
    """One running request. ``responded`` is done when its response has been written."""

    invoked: bool
    task: asyncio.Task[Any]
    responded: asyncio.Future[None]
    superseded: bool = False

    def supersede(self) -> None:
        """Cancel the request because a newer one has arrived."""
        self.superseded = True
        cancel_once(self.task)


class RunningRequests:
    """The running requests of each document."""

    def __init__(self) -> None:
        self._running: dict[str, list[RunningRequest]] = {}

    async def run(self, key: str, invoked: bool, work: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """Supersede the older requests for ``key``, run ``work`` and return its result; None if superseded meanwhile.

        The responses to the older requests are written before ``work`` starts. Must be called from the task whose end
        writes this request's response.
        """
        running = self._running.setdefault(key, [])
        older = [request for request in running if invoked or not request.invoked]
        current = _start(invoked, _after(older, work))
        running.append(current)
        for request in older:
            request.supersede()
        try:
            return await current.task
        except asyncio.CancelledError:
            if current.superseded:
                await _responses(older)  # a request that had not started ends sooner than one that had
                return None
            raise
        finally:
            self._forget(key, current)

    def _forget(self, key: str, request: RunningRequest) -> None:
        self._running[key].remove(request)
        if not self._running[key]:
            del self._running[key]


async def _after(older: list[RunningRequest], work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    await _responses(older)
    return await work()


async def _responses(requests: list[RunningRequest]) -> None:
    """Wait until the responses to ``requests`` have been written."""
    await asyncio.gather(*(asyncio.shield(request.responded) for request in requests))


def _start(invoked: bool, work: Coroutine[Any, Any, T]) -> RunningRequest:
    responded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    handler = asyncio.current_task()
    assert handler is not None, "called from a coroutine"
    # pygls's own callback, which writes the response, was added before this one and runs before it.
    handler.add_done_callback(lambda _: responded.set_result(None))
    return RunningRequest(invoked, asyncio.ensure_future(work), responded)
