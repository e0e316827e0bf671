"""Finding the engine, or starting it. Torch-free; knows no HTTP beyond "does somebody listen?".

The engine runs in a process session of its own, so that it outlives the window that started it. Of several windows that
find none at once, one starts it and the others wait: each process would take as long as all of them together to begin.
"""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from inference.api import crash_report
from inference.api.crash_report import MOST_DEATHS
from inference.api.errors import CodeLlamaError
from inference.models.catalog import canonical
from inference.system.child_processes import NEUTRAL_FOLDER, python_module
from inference.system.runtime_folder import NO_ENGINE, in_words, runtime_folder

START_SECONDS = 30.0
AGAIN_SECONDS = 0.25
LOG_BYTES = 1024 * 1024
IDLE_SECONDS = 600.0
LISTENING_SECONDS = 5.0
"""A connection takes microseconds, unless whoever listens accepts none."""


class EngineNotStarted(CodeLlamaError):
    """The engine did not start, or is not started again after several failed starts."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine is to be started if none is there.

    Attributes:
        model: which model, by its id.
        format: how its weights are held (see ``models.loader``); ``auto`` decides by the device.
        grace: seconds the engine stays after the last window has left.
        context: tokens of prompt and answer together, or None for what fits.
        chat_model: another model for chat; empty for the same.
        idle: seconds without a request after which the engine unloads the weights.
    """

    model: str = "starter"
    format: str = "auto"
    grace: float = 60.0
    context: int | None = None
    chat_model: str = ""
    idle: float = IDLE_SECONDS

    @property
    def models(self) -> tuple[str, str]:
        """Ids of the models for completion and for chat."""
        return canonical(self.model), canonical(self.chat_model or self.model)

    def arguments(self) -> list[str]:
        """The engine's command line."""
        arguments = ["--model", self.model, "--format", self.format, "--grace", str(self.grace)]
        arguments += ["--idle", str(self.idle)]
        if self.chat_model:
            arguments += ["--chat-model", self.chat_model]
        return arguments if self.context is None else [*arguments, "--context", str(self.context)]


def socket_path() -> Path:
    """Where this user's engine listens. Raises ``NotPrivate``."""
    return runtime_folder() / "engine.sock"


def log_path() -> Path:
    """Where the engine's log is; the one before it, when that grew too long, lies beside. Raises ``NotPrivate``."""
    return runtime_folder() / "engine.log"


def allow_one_more() -> None:
    """Let ``ensure_engine`` start one more engine although those before it died: the user asked. Raises ``NotPrivate``.

    Does nothing where they did not.
    """
    crash_report.allow_one_more(runtime_folder())


async def ensure_engine(options: EngineOptions, command: Sequence[str] = ()) -> Path:
    """The socket of a listening engine, started if need be; raises ``EngineNotStarted`` or ``NotPrivate``.

    Raises ``EngineNotStarted``, and starts none, where several died before they were ready (``starts``).
    """
    with in_words():
        return await _ensure_engine(options, command)


async def _ensure_engine(options: EngineOptions, command: Sequence[str]) -> Path:
    """Start one until it listens: an engine that finds the lock taken leaves at once, as that one may be leaving."""
    path, log = socket_path(), log_path()
    under = crash_report.circumstances(options.arguments(), options.models)
    arguments = [*(command or python_module("inference.server.process")), *options.arguments()]
    starting = FileLock(path.with_name("engine.starting"), mode=0o600)
    process: _Child | None = None
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    try:
        while asyncio.get_running_loop().time() < deadline:
            if await listens(path):
                return path
            if process is None and _is_ours(starting):
                _check_deaths(path.parent, under, options, log)
                crash_report.add(path.parent, under)
                process = _start(arguments, log)
            elif process is not None and not process.reaper.is_alive():
                if process.popen.returncode >= 0:  # it was not killed
                    crash_report.clear(path.parent)
                if process.popen.returncode > 0:
                    raise EngineNotStarted(_last_words(log))
                process = None
                await asyncio.sleep(AGAIN_SECONDS)
            await asyncio.sleep(0.05)  # nothing signals that a socket has begun to listen
    finally:
        starting.release()
    raise EngineNotStarted(f"The engine did not come up within {START_SECONDS:.0f} seconds; its log is {log}.")


async def listens(path: Path) -> bool:
    """Does somebody accept connections there?"""
    try:
        async with asyncio.timeout(LISTENING_SECONDS):
            _, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return False
    writer.close()
    return True


def _is_ours(lock: FileLock) -> bool:
    """Take it, unless that was done before or another window has it."""
    with suppress(Timeout):
        return lock.is_locked or bool(lock.acquire(timeout=0))
    return False


def _check_deaths(folder: Path, under: str, options: EngineOptions, log: Path) -> None:
    """Raises ``EngineNotStarted``."""
    if crash_report.deaths(folder, under) < MOST_DEATHS:
        return
    names = " and ".join(f"'{model}'" for model in dict.fromkeys(options.models))
    raise EngineNotStarted(
        f"The engine died {MOST_DEATHS} times while it loaded {names}: {crash_report.cause(log)}. It is not started "
        "again by itself: run `codellama-ls doctor`, which tries once more, or choose another model."
    )


@dataclass(frozen=True, slots=True)
class _Child:
    """An engine started here, and the thread that waits for its end and logs how it ended."""

    popen: subprocess.Popen[bytes]
    reaper: threading.Thread


def _start(command: Sequence[str], log: Path) -> _Child:
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as stderr:
        log.chmod(0o600)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
            cwd=NEUTRAL_FOLDER,
        )
    # waited for, or it stays as a zombie
    reaper = threading.Thread(target=_reap, args=(process, log), daemon=True, name="reap-engine")
    reaper.start()
    return _Child(process, reaper)


def _reap(process: subprocess.Popen[bytes], log: Path) -> None:
    status = process.wait()
    with suppress(OSError):  # the folder may be gone by now
        crash_report.note(log, status)


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    said = lines[-1].removeprefix(NO_ENGINE) if lines else "nothing"
    return f"The engine did not start: {said} (the whole log is {log})"
