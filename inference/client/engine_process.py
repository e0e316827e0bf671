"""Find the engine's process or start it. Torch-free.

The engine runs in a process session of its own, so that it outlives the editor that started it. If several editors find
no engine at once, one starts it and the others wait: several processes would slow each other down.
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

from inference.client import crash_report
from inference.client.crash_report import MAX_FAILED_STARTS
from inference.errors import CodeLlamaError
from inference.models.catalog import canonical
from inference.system.child_processes import NEUTRAL_FOLDER, python_module
from inference.system.files import open_private
from inference.system.runtime_folder import NO_ENGINE, report_os_errors, runtime_folder

START_SECONDS = 30.0
"""Time limit from the start of a process until it listens. It loads the weights later."""

POLL_SECONDS = 0.05
RESTART_SECONDS = 0.25
"""Seconds between the end of a process and the start of another."""

LOG_BYTES = 1024 * 1024
"""Size at which the log is rotated."""

IDLE_SECONDS = 600.0

LISTENING_SECONDS = 5.0
"""Time limit of a connection. It takes microseconds unless the process hangs."""


class EngineNotStarted(CodeLlamaError):
    """The engine did not start, or is not started again after several failed starts."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options of an engine that is started if none is running.

    Attributes:
        model: id of the model for completion.
        format: format of the weights in memory (see ``models.loader``); ``auto`` chooses by the device.
        grace: seconds that the engine stays after the last editor has closed.
        context: tokens of prompt and response together; None for as many as fit into memory.
        chat_model: id of the model for chat; empty for the same.
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
        """Return the ids of the models for completion and for chat."""
        return canonical(self.model), canonical(self.chat_model or self.model)

    def arguments(self) -> list[str]:
        """Return the engine's command-line arguments."""
        arguments = ["--model", self.model, "--format", self.format, "--grace", str(self.grace)]
        arguments += ["--idle", str(self.idle)]
        if self.chat_model:
            arguments += ["--chat-model", self.chat_model]
        return arguments if self.context is None else [*arguments, "--context", str(self.context)]


def socket_path() -> Path:
    """Return the path of the engine's socket. Raises ``NotPrivateError``."""
    return runtime_folder() / "engine.sock"


def log_path() -> Path:
    """Return the path of the engine's log; the rotated log lies beside it. Raises ``NotPrivateError``."""
    return runtime_folder() / "engine.log"


def allow_one_more() -> None:
    """Let ``ensure_engine`` start one more engine after too many failed starts: the user asked.

    Raises ``NotPrivateError``.
    """
    crash_report.allow_one_more(runtime_folder())


async def ensure_engine(options: EngineOptions, command: Sequence[str] = ()) -> Path:
    """Return the socket of a listening engine; start one if none is running.

    Raises ``NotPrivateError`` and ``EngineNotStarted``. After ``MAX_FAILED_STARTS`` failed starts none is tried.
    """
    with report_os_errors():
        return await _ensure_engine(options, command)


async def _ensure_engine(options: EngineOptions, command: Sequence[str]) -> Path:
    """Start engines until one listens. An engine exits at once if another holds the lock, even one that is exiting."""
    path, log = socket_path(), log_path()
    fingerprint = crash_report.start_fingerprint(options.arguments(), options.models)
    arguments = [*(command or python_module("inference.server.process")), *options.arguments()]
    starting = FileLock(path.with_name("engine.starting"), mode=0o600)
    process: _Child | None = None
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    try:
        while asyncio.get_running_loop().time() < deadline:
            if await listens(path):
                return path
            if process is None and _acquire(starting):
                _check_failed_starts(path.parent, fingerprint, options, log)
                crash_report.count_start(path.parent, fingerprint)
                process = _start(arguments, log)
            elif process is not None and not process.reaper.is_alive():
                if process.popen.returncode >= 0:  # it was not killed
                    crash_report.forget_failed_starts(path.parent)
                if process.popen.returncode > 0:
                    raise EngineNotStarted(_reason(log))
                process = None
                await asyncio.sleep(RESTART_SECONDS)
            await asyncio.sleep(POLL_SECONDS)  # there is no event when a socket begins to listen
    finally:
        starting.release()
    raise EngineNotStarted(f"The engine did not start within {START_SECONDS:.0f} seconds. See its log, {log}.")


async def listens(path: Path) -> bool:
    """Return whether a process accepts connections at ``path``."""
    try:
        async with asyncio.timeout(LISTENING_SECONDS):
            _, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return False
    writer.close()
    return True


def _acquire(lock: FileLock) -> bool:
    """Acquire the lock unless this process holds it already; return False if another process holds it."""
    with suppress(Timeout):
        return lock.is_locked or bool(lock.acquire(timeout=0))
    return False


def _check_failed_starts(folder: Path, fingerprint: str, options: EngineOptions, log: Path) -> None:
    """Raise ``EngineNotStarted`` after too many failed starts."""
    if crash_report.failed_starts(folder, fingerprint) < MAX_FAILED_STARTS:
        return
    names = " and ".join(f"'{model}'" for model in dict.fromkeys(options.models))
    raise EngineNotStarted(
        f"The engine died {MAX_FAILED_STARTS} times while it loaded {names}: {crash_report.likely_cause(log)}. "
        "It is not restarted automatically. Run `codellama-ls doctor` to try once more, or choose another model."
    )


@dataclass(frozen=True, slots=True)
class _Child:
    """An engine started by this process, and the thread that waits for its end and logs the signal."""

    popen: subprocess.Popen[bytes]
    reaper: threading.Thread


def _start(command: Sequence[str], log: Path) -> _Child:
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with open_private(log, "ab") as stderr:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
            cwd=NEUTRAL_FOLDER,
        )
    # without a wait the child would stay as a zombie
    reaper = threading.Thread(target=_reap, args=(process, log), daemon=True, name="reap-engine")
    reaper.start()
    return _Child(process, reaper)


def _reap(process: subprocess.Popen[bytes], log: Path) -> None:
    status = process.wait()
    with suppress(OSError):  # the folder may be gone by now
        crash_report.log_exit(log, status)


def _reason(log: Path) -> str:
    """Return the message for an engine that exited with an error, whose last line of the log says why."""
    lines = [line for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    last = lines[-1].removeprefix(NO_ENGINE) if lines else "it logged nothing"
    return f"The engine did not start: {last} (the whole log is {log})"
