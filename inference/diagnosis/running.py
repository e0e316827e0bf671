"""The engine as it is: what runs, what it says of itself, and how the last one ended. Asks it nothing of a model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import psutil

import inference
from inference.diagnosis.check import Check
from inference.planning.planner import amount
from inference.serving import post_mortem
from inference.serving.client import EngineClient, EngineError
from inference.serving.private import NotPrivate, runtime_folder
from inference.serving.spawn import listens, log_path, socket_path
from inference.serving.state import ANSWERING

PATIENCE = 10.0
LOOK = "`codellama-ls engine logs` shows more."


def look() -> dict[str, Any] | None:
    """The running engine's ``/stats``; None where none runs, or where it does not answer."""
    with suppress(EngineError, NotPrivate, TimeoutError, OSError):
        return asyncio.run(asyncio.wait_for(_stats(), PATIENCE))
    return None


async def _stats() -> dict[str, Any] | None:
    if not await listens(socket_path()):
        return None
    client = EngineClient(socket_path())
    try:
        return await client.stats()
    finally:
        await client.aclose()


def has_loaded(stats: Mapping[str, Any] | None, models: tuple[str, str]) -> bool:
    """Whether the engine holds these models' weights."""
    return stats is not None and set(models) <= set(stats["models"])


def check_running(stats: Mapping[str, Any] | None) -> Iterator[Check]:
    """What runs, and whether the one before it ended in order."""
    if stats is None and _listens():
        text = "one listens but does not answer: it may hang"
        yield Check("engine", "problem", text, "`codellama-ls engine stop --now` ends it.")
        return
    if stats is None:
        yield Check("engine", "ok", "none runs; the first window starts one")
        if died():
            text = f"the last engine ended unexpectedly: {post_mortem.cause(log_path())}"
            yield Check("last engine", "warning", text, LOOK, quotes=True)
        return
    engine = stats["engine"]
    yield _engine(stats, engine)
    if engine["crash"]:
        text = f"the engine before this one ended unexpectedly: {engine['crash']}"
        yield Check("last engine", "warning", text, LOOK, quotes=True)


def _engine(stats: Mapping[str, Any], engine: Mapping[str, Any]) -> Check:
    held = stats["memory"]
    figures = {name: held[name] for name in ("resident_bytes", "gpu_bytes")}
    held_bytes, windows = amount(held["resident_bytes"]), stats["windows"]
    text = f"version {engine['version']}, {engine['phase']}, {windows} windows, {held_bytes}"
    if engine["phase"] not in (*ANSWERING, "loading"):
        advice = "`codellama-ls engine stop`, then ask for a completion: that starts it anew."
        return Check("engine", "problem", f"{text}: {engine['message']}", advice, figures, quotes=True)
    if engine["version"] != inference.__version__:
        advice = "`codellama-ls engine stop` has the next window start the installed one."
        return Check("engine", "warning", f"{text}, but {inference.__version__} is installed", advice, figures)
    return Check("engine", "ok", text, figures=figures)


def _listens() -> bool:
    with suppress(NotPrivate, OSError):
        return asyncio.run(listens(socket_path()))
    return False


def died() -> bool:
    """Whether the last engine left its mark: it did not end in order, and that since the machine was started."""
    with suppress(NotPrivate, OSError):
        mark = runtime_folder() / post_mortem.MARK
        return mark.stat().st_mtime >= psutil.boot_time()
    return False
