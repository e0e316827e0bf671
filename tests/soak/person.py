"""A person at work in one window: types at a human's rhythm and keeps account of what becomes of each request.

VS Code cancels a request at the next key, other editors leave that to the server: both are typed here. Knows no engine.
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
"""Seconds from one request to the next while typing on, and after an answer that was waited for."""

LOOKS = 0.4
"""How often a person waits for the answer. Which ones is cast before, so that these times are a fair sample."""

HANGS = 90.0
"""Seconds without an answer after which a request counts as hanging; several times its deadline."""

STRETCH = 100
"""Requests typed before the files are as they were, and others of their lines are written anew."""


@dataclass
class Account:
    """What became of all requests: each was answered, with text or empty, or cancelled; ``faults`` are all others.

    ``waits`` are the seconds of those that were waited for.
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


class Person:
    """Works on ``files``, once sat down, until they rest, or their server is gone."""

    def __init__(self, window: Window, files: Sequence[SourceFile], dice: Random, *, cancels: bool) -> None:
        self.window = window
        self.account = Account()
        self._trace, self._dice, self._cancels = endless(files, dice), dice, cancels
        self._opened: set[str] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self._typing: asyncio.Task[None] | None = None

    @property
    def under_way(self) -> int:
        """How many requests wait for their answers."""
        return len(self._under_way)

    def sit_down(self) -> None:
        """Begin to type."""
        self._typing = asyncio.ensure_future(self._type())

    async def rest(self) -> None:
        """Stop typing; returns when every request has been answered, or hangs."""
        assert self._typing is not None
        self._typing.cancel()
        with suppress(asyncio.CancelledError):
            await self._typing
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def leave(self) -> None:
        """Expect no more answers."""
        for request in self._under_way:
            request.cancel()
        await self.rest()

    async def look(self, request: TraceRequest) -> list[tuple[str, tuple[int, int, int, int]]]:
        """Ask by hand, in a document of its own; the items."""
        self._show(request)
        return await self.window.inline(*_cursor(request), uri=_uri(request))

    async def _type(self) -> None:
        for request in self._trace:
            looks = not self.account.asked or self._dice.random() < LOOKS
            answer, name = self._ask(request, looks=looks)
            if looks:
                await asyncio.wait([answer])
            await asyncio.sleep(self._dice.uniform(*(READING if looks else TYPING)))
            if self._cancels and not answer.done():
                self.window.client.cancel_request(types.CancelParams(name))

    def _ask(self, request: TraceRequest, *, looks: bool) -> tuple[asyncio.Task[None], str]:
        self._show(request)
        self.account.asked += 1
        name = f"key {self.account.asked}"
        future = self.window.request(*_cursor(request), uri=_uri(request), invoked=False, msg_id=name)
        task = asyncio.ensure_future(self._settle(future, looks=looks))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task, name

    async def _settle(self, answer: asyncio.Future[list[types.InlineCompletionItem]], *, looks: bool) -> None:
        """Enter one request into the account once it is over."""
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
            if looks:
                account.waits.append(time.perf_counter() - started)

    def _show(self, request: TraceRequest) -> None:
        text, uri = request.prefix + request.suffix, _uri(request)
        if uri in self._opened:
            return self.window.change(text, uri)
        self._opened.add(uri)
        return self.window.open(text, uri, LANGUAGES.get(Path(request.document).suffix, "plaintext"))


def endless(files: Sequence[SourceFile], dice: Random) -> Iterator[TraceRequest]:
    """What a person asks who works on ``files`` all day."""
    while True:
        yield from make_trace(dice.sample(files, len(files)), STRETCH, dice.randrange(2**32))


def _uri(request: TraceRequest) -> str:
    return f"file:///project/{request.document}"


def _cursor(request: TraceRequest) -> tuple[int, int]:
    """Line and character; in ASCII, so that all position encodings agree."""
    return request.prefix.count("\n"), len(request.prefix) - (request.prefix.rfind("\n") + 1)
