"""An editor session with a real engine process, which tests break and repair; rows of the fault table."""

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
from support.editor_session import EditorSession, in_process_session
from support.waiting import until

from inference.client.crash_report import tail
from inference.client.engine_client import LATE_SECONDS
from inference.client.engine_process import EngineOptions, ensure_engine, log_path
from inference.models import store
from inference.models.manifest import MANIFEST
from lsp_server.backend import backend, local_engine
from lsp_server.features import lifecycle
from lsp_server.server import create_server

ENGINE = Path(__file__).with_name("engine.py")

SILENCE = 2.0
"""Seconds without a heartbeat after which an engine counts as hung. The test engine sends ten per second."""

DEADLINE_MS = 250
MANUAL = 4
"""Number of deadlines that a manual request may take."""

TABLE = "FAULT_TABLE"
"""Environment variable: the file to which each test appends its row."""

HEAD = "| fault | message to the user | seconds until the message | recovered |\n|---|---|---|---|\n"


@dataclass
class Rig:
    """An editor session and its engine, to break and observe.

    Attributes:
        runtime: the folder with socket, lock and log.
        searches: how often the language server has looked for an engine.
        requests: how often the editor has requested a completion.
        find: the replacement for ``ensure_engine``.
    """

    runtime: Path
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    silence: float = SILENCE
    grace: float = 0.1
    searches: int = 0
    requests: int = 0
    find: Callable[..., Awaitable[Path]] = ensure_engine
    editor: EditorSession | None = None

    def set_behaviour(self, word: str) -> None:
        """Set the behaviour of the next engine (see ``engine.py``)."""
        (self.folder / "control").write_text(word)

    def pull_again(self) -> None:
        """Change the model's manifest as ``pull`` does."""
        manifest = self.folder / "models" / "starter" / MANIFEST
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.touch()
        os.utime(manifest, ns=(time.time_ns(), time.time_ns()))

    @property
    def begun(self) -> list[int]:
        """The pids of all engines so far."""
        file = self.folder / "begun"
        return [int(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def messages(self) -> list[str]:
        """The messages that the editor has displayed."""
        assert self.editor is not None
        return [message.message for message in self.editor.client.messages]

    @asynccontextmanager
    async def session(self) -> AsyncIterator[EditorSession]:
        """Open an editor session that uses the scripted engine. All engines are killed at its end."""
        command = [sys.executable, str(ENGINE), str(self.folder / "control")]

        async def find(options: EngineOptions) -> Path:
            self.searches += 1
            return await self.find(options, command)

        link = partial(local_engine.LocalEngine, find=find, silence=self.silence)
        self.monkeypatch.setattr(lifecycle, "LocalEngine", link)
        self.monkeypatch.setattr(backend, "RETRY_AFTER", 0.05)
        self.monkeypatch.setenv(store.FOLDER_VARIABLE, str(self.folder / "models"))
        settings = {"engine": {"graceSeconds": self.grace}, "completion": {"deadlineMs": DEADLINE_MS}}
        try:
            async with in_process_session(create_server(), settings=settings, wait=False) as self.editor:
                self.editor.open("x = ")
                yield self.editor
        finally:
            self._end_engines()

    async def request(self, seconds: float = MANUAL * DEADLINE_MS / 1000 + LATE_SECONDS + 1) -> list:
        """Request a completion and return its items. Raises TimeoutError after the deadline and a margin."""
        assert self.editor is not None
        self.requests += 1
        self.editor.change(f"x{self.editor.version} = ")
        return await asyncio.wait_for(self.editor.inline(0, 6), seconds)

    async def until_recovered(self) -> None:
        """Repeat the request until it returns items."""
        async with asyncio.timeout(60):
            while not await self.request():
                await asyncio.sleep(0.1)  # as a user would retry

    async def until_message(self, pattern: str, since: float) -> float:
        """Wait for the only message, check it, and return the seconds until it came."""
        await until(lambda: self.messages, 60)
        seconds = time.monotonic() - since
        (message,) = self.messages
        assert pattern in message, f"{message}\n{tail(log_path())}"
        return seconds

    def _end_engines(self) -> None:
        for pid in self.begun:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def add_row(fault: str, message: str, seconds: float | None, recovered: str) -> None:
    """Append a row to the table that ``FAULT_TABLE`` names, if it is set."""
    name = os.environ.get(TABLE)
    if not name:
        return
    file = Path(name)
    with file.open("a", encoding="utf-8") as table:
        if table.tell() == 0:
            table.write(HEAD)
        elapsed = "" if seconds is None else f"{seconds:.1f}"
        table.write(f"| {fault} | {message.replace('|', '/')} | {elapsed} | {recovered} |\n")
