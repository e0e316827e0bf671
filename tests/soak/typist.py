"""A simulated typist in one editor session: types at human speed and records the result of each request.

VS Code cancels a request at the next keystroke; other editors leave that to the server. Both are simulated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from lsprotocol import types
from pygls.exceptions import JsonRpcContentModified, JsonRpcRequestCancelled
from support.editor_session import EditorSession

from inference.text.source_files import SourceFile
from lsp_server.benchmark.editing_trace import TraceRequest, make_trace
from lsp_server.demo.tiny_editor import LANGUAGES

TYPING, READING = (0.1, 0.4), (0.3, 1.5)
"""Range of seconds to the next request while typing, and after a response that was waited for."""

WAIT_SHARE = 0.4
"""Share of requests whose response is waited for. They are drawn beforehand, so that their times are a fair sample."""

HANG_SECONDS = 90.0
"""Seconds without a response after which a request counts as hung; several times its deadline."""

TRACE_REQUESTS = 100
"""Requests of one editing trace. Then the files are restored and other lines are typed."""


@dataclass
class RequestCounts:
    """The results of all requests.

    Attributes:
        sent: all requests.
        suggested: requests with a suggestion.
        empty: requests without one.
        waits: the seconds of the requests that were waited for.
        errors: descriptions of all other results.
    """

    sent: int = 0
    suggested: int = 0
    empty: int = 0
    cancelled: int = 0
    waits: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def settled(self) -> int:
        """Requests with a result."""
        return self.suggested + self.empty + self.cancelled


class SimulatedTypist:
    """Types in ``files``, between ``start`` and ``stop``. ``cancels``: cancel a request at the next keystroke."""

    def __init__(self, window: EditorSession, files: Sequence[SourceFile], dice: Random, *, cancels: bool) -> None:
        self.window = window
        self.counts = RequestCounts()
        self._trace, self._dice, self._cancels = endless(files, dice), dice, cancels
        self._opened: set[str] = set()
        self._pending: set[asyncio.Task[None]] = set()
        self._typing: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """Number of requests without a response."""
        return len(self._pending)

    def start(self) -> None:
        """Start typing."""
        self._typing = asyncio.ensure_future(self._type())

    async def stop(self) -> None:
        """Stop typing and wait until every request has a response or counts as hung."""
        assert self._typing is not None
        self._typing.cancel()
        with suppress(asyncio.CancelledError):
            await self._typing
        if self._pending:
            await asyncio.wait(self._pending)

    async def abandon(self) -> None:
        """Stop typing without waiting for responses."""
        for request in self._pending:
            request.cancel()
        await self.stop()

    async def complete(self, request: TraceRequest) -> list[tuple[str, tuple[int, int, int, int]]]:
        """Request a completion manually, and return its items."""
        self._update(request)
        return await self.window.inline(*_cursor(request), uri=_uri(request))

    async def _type(self) -> None:
        for request in self._trace:
            waits = not self.counts.sent or self._dice.random() < WAIT_SHARE
            response, name = self._send(request, waits=waits)
            if waits:
                await asyncio.wait([response])
            await asyncio.sleep(self._dice.uniform(*(READING if waits else TYPING)))
            if self._cancels and not response.done():
                self.window.client.cancel_request(types.CancelParams(name))

    def _send(self, request: TraceRequest, *, waits: bool) -> tuple[asyncio.Task[None], str]:
        self._update(request)
        self.counts.sent += 1
        name = f"key {self.counts.sent}"
        future = self.window.request(*_cursor(request), uri=_uri(request), invoked=False, msg_id=name)
        task = asyncio.ensure_future(self._settle(future, waits=waits))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        return task, name

    async def _settle(self, response: asyncio.Future[list[types.InlineCompletionItem]], *, waits: bool) -> None:
        """Wait for a response and count it."""
        counts, started = self.counts, time.perf_counter()
        try:
            items = await asyncio.wait_for(response, HANG_SECONDS)
        except (JsonRpcRequestCancelled, JsonRpcContentModified):
            counts.cancelled += 1
        except TimeoutError:
            counts.errors.append(f"a request had no response within {HANG_SECONDS:.0f} seconds")
        except Exception as error:
            counts.errors.append(f"{type(error).__name__}: {error}")
        else:
            counts.suggested += bool(items)
            counts.empty += not items
            if waits:
                counts.waits.append(time.perf_counter() - started)

    def _update(self, request: TraceRequest) -> None:
        text, uri = request.prefix + request.suffix, _uri(request)
        if uri in self._opened:
            return self.window.change(text, uri)
        self._opened.add(uri)
        return self.window.open(text, uri, LANGUAGES.get(Path(request.document).suffix, "plaintext"))


def endless(files: Sequence[SourceFile], dice: Random) -> Iterator[TraceRequest]:
    """Yield the requests of editing traces in ``files``, without end."""
    while True:
        yield from make_trace(dice.sample(files, len(files)), TRACE_REQUESTS, dice.randrange(2**32))


def _uri(request: TraceRequest) -> str:
    return f"file:///project/{request.document}"


def _cursor(request: TraceRequest) -> tuple[int, int]:
    """Return line and character. The text is ASCII, so that all position encodings agree."""
    return request.prefix.count("\n"), len(request.prefix) - (request.prefix.rfind("\n") + 1)
