"""Deciding whether an engine that fell silent hangs, and ending one that does. Torch-free; Linux and macOS.

Only a process is ended that is proved to be this user's engine: the kernel names it as the socket's peer, and it is the
one that left its mark in the runtime folder.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path

import psutil

from inference.api import crash_report
from inference.api.errors import EngineError, EngineSilent
from inference.client.engine_client import EngineClient
from inference.system.runtime_folder import peer

PING_SECONDS = 5.0
"""Seconds that a silent engine has to answer another, new connection."""

MOST_PINGS = 10
"""For an engine that works so hard that it answers late: an import from a slow disk may hold Python's lock for long."""

BUSY_SHARE = 0.1
"""Share of a processor between two checks; an engine that uses less does nothing."""

KILL_SECONDS = 10.0


async def end_if_hung(path: Path, ping: float = PING_SECONDS) -> bool:
    """End the engine that listens at ``path`` if it hangs, and tell whether it did. Raises ``EngineError``.

    It hangs if it answers no new connection and its process does nothing meanwhile, or answers none of many. Time in
    which the machine slept does not count: the first answer afterwards shows that the engine is alive.
    """
    for _ in range(MOST_PINGS):
        process = await asyncio.to_thread(_found, path)
        before = _used(process)
        if await _answers(path, ping):
            return False
        if _used(process) - before < BUSY_SHARE * ping and not _waits_for_disk(process):
            break
    return await end(path)


async def end(path: Path) -> bool:
    """End the engine that listens at ``path``; False where none does. Raises ``EngineError``."""
    return await asyncio.to_thread(_end, path)


async def _answers(path: Path, seconds: float) -> bool:
    """Return whether it answers anything, be it that it has gone."""
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
        pid = _peer(connection, path)
        if pid is None:
            return False
        process = _proved(pid, path)
        if process is None:
            raise EngineError(
                f"The engine does not answer, and process {pid} is not known to be it: end it yourself, then ask again."
            )
        crash_report.note_hung(path.parent / "engine.log")
        with suppress(psutil.NoSuchProcess):
            process.kill()  # psutil looks whether it is still the same process; one that hangs heeds no SIGTERM
        if not _closes(connection):
            text = f"The engine does not answer, and process {pid} can't be killed: restart the machine."
            raise EngineError(text)
    return True


def _found(path: Path) -> psutil.Process | None:
    """The engine's process; None where it is not proved to be that."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        pid = _peer(connection, path)
    return None if pid is None else _proved(pid, path)


def _proved(pid: int, path: Path) -> psutil.Process | None:
    """The process, where it is this user's and has left the engine's mark."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if pid == crash_report.marked(path.parent) and process.uids().real == os.getuid():
            return process
    return None


def _peer(connection: socket.socket, path: Path) -> int | None:
    """Connect to whoever listens at ``path``: its process, or None where nobody does.

    Where the system does not tell, or too many wait to be accepted, it is taken for the one that left the engine's
    mark.
    """
    connection.settimeout(PING_SECONDS)
    try:
        connection.connect(str(path))
        found = peer(connection)
    except TimeoutError:
        found = None
    except OSError:
        return None
    return found[0] if found else crash_report.marked(path.parent) or None


def _closes(connection: socket.socket) -> bool:
    """Return whether the other end dies in time. Waits for the socket, as only its parent can wait for the process."""
    connection.settimeout(KILL_SECONDS)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def _used(process: psutil.Process | None) -> float:
    """Seconds of processor time so far."""
    with suppress(psutil.Error):
        if process is not None:
            times = process.cpu_times()
            return times.user + times.system
    return 0.0


def _waits_for_disk(process: psutil.Process | None) -> bool:
    with suppress(psutil.Error):
        return process is not None and process.status() == psutil.STATUS_DISK_SLEEP
    return False
