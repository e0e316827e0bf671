"""One editor session on a real engine process that a test breaks and mends, and a row of the fault table."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from support.e2e_window import Window, window_on
from support.waiting import until

from inference.client.engine_client import LATE_SECONDS
from inference.client.engine_process import EngineOptions, ensure_engine
from inference.models import store
from inference.models.manifest import MANIFEST
from lsp_server.backend import backend, local_engine
from lsp_server.features import lifecycle
from lsp_server.server import create_server

ENGINE = Path(__file__).with_name("engine.py")

SILENCE = 2.0
"""Seconds after which an engine may hang, for tests whose engine sends a sign of life ten times a second."""

DEADLINE_MS = 250
BY_HAND = 4
"""Deadlines that a request made by hand has (``suggest.PATIENCE``)."""

TABLE = "FAULT_TABLE"
"""Environment variable: the file to which each test adds its row."""

HEAD = "| fault | what the user is told | seconds until told | recovered |\n|---|---|---|---|\n"


@dataclass
class Rig:
    """A session and its engine, for a test to break and observe.

    Attributes:
        runtime: the folder where socket, lock and log lie.
        searches: how often the link has looked for an engine; ``requests``: how often the editor has asked.
        find: in place of ``ensure_engine``.
    """

    runtime: Path
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    silence: float = SILENCE
    searches: int = 0
    requests: int = 0
    find: Callable[..., Awaitable[Path]] = ensure_engine
    window: Window | None = None

    def says(self, word: str) -> None:
        """Set what the next engine does (``engine.py``)."""
        (self.folder / "control").write_text(word)

    def pulled(self) -> None:
        """A model was installed anew."""
        manifest = self.folder / "models" / "starter" / MANIFEST
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.touch()
        os.utime(manifest, ns=(time.time_ns(), time.time_ns()))

    @property
    def begun(self) -> list[int]:
        """Processes of all engines so far."""
        file = self.folder / "begun"
        return [int(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def told(self) -> list[str]:
        """Messages that the editor has shown."""
        assert self.window is not None
        return [message.message for message in self.window.client.messages]

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Window]:
        """An editor whose server looks for the scripted engine; engines end with the session."""
        command = [sys.executable, str(ENGINE), str(self.folder / "control")]

        async def find(options: EngineOptions) -> Path:
            self.searches += 1
            return await self.find(options, command)

        link = partial(local_engine.LocalEngine, find=find, silence=self.silence)
        self.monkeypatch.setattr(lifecycle, "LocalEngine", link)
        self.monkeypatch.setattr(backend, "RETRY_AFTER", 0.05)
        self.monkeypatch.setenv(store.FOLDER_VARIABLE, str(self.folder / "models"))
        settings = {"engine": {"graceSeconds": 0.1}, "completion": {"deadlineMs": DEADLINE_MS}}
        try:
            async with window_on(create_server(), settings=settings, wait=False) as self.window:
                self.window.open("x = ")
                yield self.window
        finally:
            self._end_engines()

    async def asks(self, seconds: float = BY_HAND * DEADLINE_MS / 1000 + LATE_SECONDS + 1) -> list:
        """The items of one request, which must come within its deadline and a margin."""
        assert self.window is not None
        self.requests += 1
        self.window.change(f"x{self.window.version} = ")
        return await asyncio.wait_for(self.window.inline(0, 6), seconds)

    async def recovers(self) -> None:
        """Returns once a request is answered."""
        async with asyncio.timeout(60):
            while not await self.asks():
                await asyncio.sleep(0.1)  # as a user asks again, later

    async def is_told(self, pattern: str, since: float) -> float:
        """Seconds until the one message came, which must match."""
        await until(lambda: self.told, 60)
        seconds = time.monotonic() - since
        (message,) = self.told
        assert pattern in message
        return seconds

    def _end_engines(self) -> None:
        for pid in self.begun:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def row(fault: str, told: str, seconds: float | None, recovered: str) -> None:
    """Add a row to the table that the environment names."""
    name = os.environ.get(TABLE)
    if not name:
        return
    file = Path(name)
    with file.open("a", encoding="utf-8") as table:
        if table.tell() == 0:
            table.write(HEAD)
        shown = "" if seconds is None else f"{seconds:.1f}"
        table.write(f"| {fault} | {told.replace('|', '/')} | {shown} | {recovered} |\n")
