"""Detect an engine that hangs, and kill it. Torch-free; Linux and macOS.

A process is killed only if it is proved to be this user's engine: it is the socket's peer according to the kernel, and
its id is the mark in the runtime folder.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path

import psutil

from inference.api.engine_errors import EngineError, EngineSilent
from inference.client import crash_report
from inference.client.engine_client import EngineClient
from inference.system.runtime_folder import peer_credentials

PING_SECONDS = 5.0
"""Seconds that a silent engine has to respond on a new connection."""

MOST_PINGS = 10
"""Pings of an engine that is busy, say because an import from a slow disk holds Python's lock."""

BUSY_SHARE = 0.1
"""Share of a CPU between two checks below which an engine counts as idle."""

KILL_SECONDS = 10.0
"""Time limit for a killed process to end."""


async def kill_if_hung(path: Path, ping: float = PING_SECONDS) -> bool:
    """Kill the engine that listens at ``path`` if it hangs; return whether it was killed.

    It hangs if it does not respond on a new connection while its process is idle, or on none of ``MOST_PINGS``. The
    first response after a suspension of the machine shows that it is alive. Raises ``EngineError``.
    """
    for _ in range(MOST_PINGS):
        process = await asyncio.to_thread(_engine_process, path)
        before = _cpu_seconds(process)
        if await _answers(path, ping):
            return False
        if _cpu_seconds(process) - before < BUSY_SHARE * ping and not _waits_for_disk(process):
            break
    return await kill_engine(path)


async def kill_engine(path: Path) -> bool:
    """Kill the engine that listens at ``path``; return False if none does. Raises ``EngineError``."""
    return await asyncio.to_thread(_end, path)


async def _answers(path: Path, seconds: float) -> bool:
    """Return whether the engine responds at all, or has ended."""
    client = EngineClient(path, silence=seconds)
    try:
        await client.health()
    except EngineSilent:
        return False
    except EngineError:
        return True
    finally:
        await client.aclose()
    return True


def _end(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        pid = _connect(connection, path)
        if pid is None:
            return False
        process = _if_engine(pid, path)
        if process is None:
            raise EngineError(
                f"The engine does not respond, and process {pid} cannot be identified as the engine. Kill it and retry."
            )
        crash_report.log_hung(path.parent / "engine.log")
        with suppress(psutil.NoSuchProcess):
            process.kill()  # psutil checks that it is still the same process; a process that hangs ignores SIGTERM
        if not _closes(connection):
            text = f"The engine does not respond, and process {pid} cannot be killed. Restart the machine."
            raise EngineError(text)
    return True


def _engine_process(path: Path) -> psutil.Process | None:
    """Return the engine's process; None without a proof."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        pid = _connect(connection, path)
    return None if pid is None else _if_engine(pid, path)


def _if_engine(pid: int, path: Path) -> psutil.Process | None:
    """Return the process if it belongs to this user and its id is the engine's mark."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if pid == crash_report.running_pid(path.parent) and process.uids().real == os.getuid():
            return process
    return None


def _connect(connection: socket.socket, path: Path) -> int | None:
    """Connect to ``path`` and return the id of the listening process; None if there is none.

    If the system cannot tell, or the queue of connections is full, it is the process of the engine's mark.
    """
    connection.settimeout(PING_SECONDS)
    try:
        connection.connect(str(path))
        found = peer_credentials(connection)
    except TimeoutError:
        found = None
    except OSError:
        return None
    return found[0] if found else crash_report.running_pid(path.parent) or None


def _closes(connection: socket.socket) -> bool:
    """Return whether the peer ends in time. Wait for the socket, because only its parent can wait for the process."""
    connection.settimeout(KILL_SECONDS)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def _cpu_seconds(process: psutil.Process | None) -> float:
    """Return the CPU time of a process so far, in seconds."""
    with suppress(psutil.Error):
        if process is not None:
            times = process.cpu_times()
            return times.user + times.system
    return 0.0


def _waits_for_disk(process: psutil.Process | None) -> bool:
    with suppress(psutil.Error):
        return process is not None and process.status() == psutil.STATUS_DISK_SLEEP
    return False
