"""Finding the engine, or starting it. Torch-free; knows no HTTP beyond "does somebody listen?".

The engine runs in a process session of its own, so that it outlives the window that started it. Several windows may
start one at once: the engine that gets the lock stays, the others leave at once.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.models.catalog import canonical
from inference.serving.private import runtime_folder

START_SECONDS = 30.0
LOG_BYTES = 1024 * 1024


class EngineNotStarted(RuntimeError):
    """No engine came up; the message says what it said."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine is to be started if none is there.

    Attributes:
        model: which model, by its id.
        format: how its weights are held (see ``models.loader``); ``auto`` decides by the device.
        grace: seconds the engine stays after the last window has left.
        context: tokens of prompt and answer together, or None for what fits.
        chat_model: another model for chat; empty for the same.
    """

    model: str = "starter"
    format: str = "auto"
    grace: float = 60.0
    context: int | None = None
    chat_model: str = ""

    @property
    def models(self) -> tuple[str, str]:
        """Ids of the models for completion and for chat."""
        return canonical(self.model), canonical(self.chat_model or self.model)

    def arguments(self) -> list[str]:
        """The engine's command line."""
        arguments = ["--model", self.model, "--format", self.format, "--grace", str(self.grace)]
        if self.chat_model:
            arguments += ["--chat-model", self.chat_model]
        return arguments if self.context is None else [*arguments, "--context", str(self.context)]


def socket_path() -> Path:
    """Where this user's engine listens. Raises ``NotPrivate``."""
    return runtime_folder() / "engine.sock"


async def ensure_engine(options: EngineOptions, command: Sequence[str] = ()) -> Path:
    """The socket of a listening engine, started if need be; raises ``EngineNotStarted`` or ``NotPrivate``."""
    path = socket_path()
    if await listens(path):
        return path
    process, log = _start(command or [sys.executable, "-m", "inference.serving.main"], options.arguments())
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        if await listens(path):
            return path
        if process.poll():
            raise EngineNotStarted(_last_words(log))
        await asyncio.sleep(0.05)  # nothing signals that a socket has begun to listen
    raise EngineNotStarted(f"The engine did not come up within {START_SECONDS:.0f} seconds; its log is {log}.")


async def listens(path: Path) -> bool:
    """Does somebody accept connections there?"""
    try:
        _, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return False
    writer.close()
    return True


def _start(command: Sequence[str], arguments: list[str]) -> tuple[subprocess.Popen[bytes], Path]:
    log = runtime_folder() / "engine.log"
    mode = "ab" if log.exists() and log.stat().st_size < LOG_BYTES else "wb"
    with log.open(mode) as stderr:
        log.chmod(0o600)
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    threading.Thread(target=process.wait, daemon=True, name="reap-engine").start()  # or it stays as a zombie
    return process, log


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    said = lines[-1] if lines else "nothing"
    return f"The engine did not start: {said} (the whole log is {log})"
