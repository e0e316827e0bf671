"""The engine process of one test, and its statistics."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psutil

from inference.client.crash_report import CRASH_MARK
from inference.client.engine_client import EngineClient


def engines(runtime: Path) -> list[psutil.Process]:
    """Return the engine processes of this test, which inherited its runtime folder."""
    return [p for p in psutil.process_iter() if _is_engine(p, str(runtime.parent))]


def marked(runtime: Path) -> int:
    """Return the process with the engine's lock, or the last one that had it; 0 if there is none."""
    mark = runtime / CRASH_MARK
    return int(mark.read_text() or 0) if mark.exists() else 0


def has_torch(pid: int) -> bool:
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


async def gone(process: psutil.Process) -> None:
    await asyncio.to_thread(process.wait, 30)


async def statistics(runtime: Path) -> dict[str, Any]:
    """``GET /stats``."""
    client = EngineClient(runtime / "engine.sock")
    try:
        return await client.stats()
    finally:
        await client.aclose()


def _is_engine(process: psutil.Process, folder: str) -> bool:
    try:
        named = "inference.server.process" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
        return named and process.environ().get("XDG_RUNTIME_DIR") == folder
    except psutil.Error:
        return False
