"""A simulated user who types in one session at a human rate and records the outcome of every request.

VS Code cancels a request at the next key; other editors leave that to the server. Both are simulated.
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
from support.e2e_window import Window

from inference.text.source_files import SourceFile
from lsp_server.benchmark.editing_trace import TraceRequest, make_trace
from lsp_server.demo.tiny_editor import LANGUAGES

TYPING, READING = (0.1, 0.4), (0.3, 1.5)
"""Seconds between requests while typing, and after an awaited response."""

AWAITED = 0.4
"""Share of responses that the user awaits; chosen in advance, so that their latencies are a fair sample."""

HANGS = 90.0
"""Seconds after which a request counts as hanging; several times its deadline."""

STRETCH = 100
"""Requests before the files are reset and other lines are typed."""


@dataclass
class Account:
    """Outcomes of all requests: a completion, none, or cancelled; ``faults`` are all others.

    ``waits`` are the latencies of awaited responses in seconds.
    """

    asked: int = 0
    shown: int = 0
    empty: int = 0
    cancelled: int = 0
    waits: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def settled(self) -> int:
        return self.shown + self.empty + self.cancelled


class TypingUser:
    """Types in ``files`` from ``start`` to ``rest`` or ``leave``."""

    def __init__(self, window: Window, files: Sequence[SourceFile], dice: Random, *, cancels: bool) -> None:
        self.window = window
        self.account = Account()
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

    async def rest(self) -> None:
        """Stop typing, and wait until every request is answered or hangs."""
        assert self._typing is not None
        self._typing.cancel()
        with suppress(asyncio.CancelledError):
            await self._typing
        if self._pending:
            await asyncio.wait(self._pending)

    async def leave(self) -> None:
        """Stop typing and drop all requests, after the server has ended."""
        for request in self._pending:
            request.cancel()
        await self.rest()

    async def look(self, request: TraceRequest) -> list[tuple[str, tuple[int, int, int, int]]]:
        """Return the items of an explicit request in a document of its own."""
        self._show(request)
        return await self.window.inline(*_cursor(request), uri=_uri(request))

    async def _type(self) -> None:
        for request in self._trace:
            awaited = not self.account.asked or self._dice.random() < AWAITED
            answer, name = self._ask(request, awaited=awaited)
            if awaited:
                await asyncio.wait([answer])
            await asyncio.sleep(self._dice.uniform(*(READING if awaited else TYPING)))
            if self._cancels and not answer.done():
                self.window.client.cancel_request(types.CancelParams(name))

    def _ask(self, request: TraceRequest, *, awaited: bool) -> tuple[asyncio.Task[None], str]:
        self._show(request)
        self.account.asked += 1
        name = f"key {self.account.asked}"
        future = self.window.request(*_cursor(request), uri=_uri(request), invoked=False, msg_id=name)
        task = asyncio.ensure_future(self._settle(future, awaited=awaited))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        return task, name

    async def _settle(self, answer: asyncio.Future[list[types.InlineCompletionItem]], *, awaited: bool) -> None:
        """Record the outcome of one request."""
        account, started = self.account, time.perf_counter()
        try:
            items = await asyncio.wait_for(answer, HANGS)
        except (JsonRpcRequestCancelled, JsonRpcContentModified):
            account.cancelled += 1
        except TimeoutError:
            account.faults.append(f"a request was not answered within {HANGS:.0f} seconds")
        except Exception as error:
            account.faults.append(f"{type(error).__name__}: {error}")
        else:
            account.shown += bool(items)
            account.empty += not items
            if awaited:
                account.waits.append(time.perf_counter() - started)

    def _show(self, request: TraceRequest) -> None:
        text, uri = request.prefix + request.suffix, _uri(request)
        if uri in self._opened:
            return self.window.change(text, uri)
        self._opened.add(uri)
        return self.window.open(text, uri, LANGUAGES.get(Path(request.document).suffix, "plaintext"))


def endless(files: Sequence[SourceFile], dice: Random) -> Iterator[TraceRequest]:
    """Yield trace requests on ``files`` without end."""
    while True:
        yield from make_trace(dice.sample(files, len(files)), STRETCH, dice.randrange(2**32))


def _uri(request: TraceRequest) -> str:
    return f"file:///project/{request.document}"


def _cursor(request: TraceRequest) -> tuple[int, int]:
    """Return line and character. The text is ASCII, so all position encodings agree."""
    return request.prefix.count("\n"), len(request.prefix) - (request.prefix.rfind("\n") + 1)
