"""The engine as it is: what runs, what it says of itself, and how the last one ended. Asks it nothing of a model.

An infilling and a chat through the real engine, as an editor has them, with milliseconds for each stage.

Starts an engine where none runs, and holds a lease as a window does. Judges whether there is an answer, not the answer:
how good a model is, ``codellama-ls eval`` measures.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, suppress
from typing import Any

import psutil

import inference
from inference.api.errors import EngineError, ModelRefused
from inference.api.events import Finished, Outcome, Sampling, TextChunk
from inference.api.requests import ChatRequest, CompletionRequest
from inference.api.status import ANSWERING, Status
from inference.client import crash_report
from inference.client.engine_client import EngineClient
from inference.client.engine_process import (
    EngineNotStarted,
    EngineOptions,
    allow_one_more,
    ensure_engine,
    listens,
    log_path,
    socket_path,
)
from inference.doctor.check import Check, Say
from inference.planning.planner import amount
from inference.system.runtime_folder import NotPrivateError, runtime_folder
from inference.text.prompts import Message
from inference.text.stopping import StopRule

PATIENCE = 10.0
LOOK = "`codellama-ls engine logs` shows more."


def look() -> dict[str, Any] | None:
    """The running engine's ``/stats``; None where none runs, or where it does not answer."""
    with suppress(EngineError, NotPrivateError, TimeoutError, OSError):
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


def check_engine(stats: Mapping[str, Any] | None) -> Iterator[Check]:
    """What runs, and whether the one before it ended in order."""
    if stats is None and _listens():
        text = "one listens but does not answer: it may hang"
        yield Check("engine", "problem", text, "`codellama-ls engine stop --now` ends it.")
        return
    if stats is None:
        yield Check("engine", "ok", "none runs; the first window starts one")
        if died():
            text = f"the last engine ended unexpectedly: {crash_report.cause(log_path())}"
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
    with suppress(NotPrivateError, OSError):
        return asyncio.run(listens(socket_path()))
    return False


def died() -> bool:
    """Whether the last engine left its mark: it did not end in order, and that since the machine was started."""
    with suppress(NotPrivateError, OSError):
        mark = runtime_folder() / crash_report.MARK
        return mark.stat().st_mtime >= psutil.boot_time()
    return False


LOAD_SECONDS = 900.0
"""The first start of a large model quantises it."""

DEADLINE_MS = 120_000
TOKENS = 16
PREFIX, SUFFIX = "def add(a, b):\n    return ", "\n\n\nprint(add(2, 3))\n"
QUESTION = "Say hello."

LOGS = "`codellama-ls engine logs` says more."


class NotLoadedError(Exception):
    """The engine can't answer; the text says why."""


async def smoke(options: EngineOptions, say: Say) -> AsyncIterator[Check]:
    """Find or start the engine, wait until it has loaded, then ask; whatever goes wrong is a check of its own."""
    started = time.perf_counter()
    try:
        ran = await listens(socket_path())
        allow_one_more()
        client = EngineClient(await ensure_engine(options))
    except (EngineNotStarted, NotPrivateError, OSError) as error:
        yield Check("engine start", "problem", str(error), LOGS, quotes=True)
        return
    up = _ms(started)
    try:
        async with aclosing(client.lease()) as statuses:
            say("loading the model")
            async with asyncio.timeout(LOAD_SECONDS):
                status = await _ready(statuses, say)
            yield _started(ran, status, up, _ms(started) - up)
            async for check in _asked(client, status, say):
                yield check
    except (NotLoadedError, EngineError, TimeoutError) as error:
        text = str(error) or f"it did not load within {LOAD_SECONDS:.0f} seconds"
        yield Check("loading", "problem", text, LOGS, quotes=True)
    finally:
        await client.aclose()


async def _ready(statuses: AsyncGenerator[Status, None], say: Say) -> Status:
    """The status once the engine answers. Raises NotLoadedError."""
    async for status in statuses:
        if status.phase in ("ready", "idle"):
            return status
        if status.phase != "loading":
            raise NotLoadedError(status.message)
        say(f"loading the model: {status.message} {status.progress} %")
    raise NotLoadedError("The engine has gone while it loaded.")


def _started(ran: bool, status: Status, up: float, load: float) -> Check:
    models = " and ".join(sorted(status.models))
    if ran and status.phase == "ready" and load < 1000:
        return Check("loading", "ok", f"an engine with {models} was there already, so no cold start was measured")
    figures = {"start_ms": round(up), "load_ms": round(load)}
    text = f"{models}: {up:,.0f} ms until the process listened, {load:,.0f} ms more until it could answer"
    return Check("loading", "ok", text, figures=figures)


async def _asked(client: EngineClient, status: Status, say: Say) -> AsyncIterator[Check]:
    if status.phase == "idle":
        say("loading the weights that an idle engine had unloaded")
        started = time.perf_counter()
        await collected(client.complete(_completion(None, 1)))
        text = f"unloaded weights were loaded and a token answered in {_ms(started):,.0f} ms"
        yield Check("waking", "ok", text, figures={"load_ms": round(_ms(started))})
    say("asking for an infilling")
    suffix = None if status.limits else SUFFIX
    yield await _answered("infill", client.complete(_completion(suffix, TOKENS)), status.limits)
    say("asking for a chat answer")
    chat = ChatRequest((Message("user", QUESTION),), sampling=Sampling(max_tokens=TOKENS), deadline_ms=DEADLINE_MS)
    yield await _answered("chat", client.chat(chat))


def _completion(suffix: str | None, tokens: int) -> CompletionRequest:
    sampling = Sampling(max_tokens=tokens)
    return CompletionRequest(PREFIX, suffix, sampling=sampling, stop_rule=StopRule("line"), deadline_ms=DEADLINE_MS)


async def _answered(name: str, events: AsyncGenerator[TextChunk | Finished, None], limits: str = "") -> Check:
    """One answer's check; ``limits`` is what the model can't do."""
    try:
        text, outcome, total = await collected(events)
    except ModelRefused as refusal:
        return Check(name, "warning", str(refusal), "Set engine.chatModel to a model that can, if you want it.")
    except EngineError as error:
        return Check(name, "problem", str(error), LOGS, quotes=True)
    figures = _figures(outcome, total)
    if not text.strip():
        return Check(name, "warning", f"the model had nothing to say; {_stages(outcome)}", "Ask again.", figures)
    return Check(name, "warning" if limits else "ok", _stages(outcome), limits, figures)


async def collected(events: AsyncGenerator[TextChunk | Finished, None]) -> tuple[str, Outcome, float]:
    """The text, how it went, and milliseconds in all. Raises EngineError."""
    started, text, outcome = time.perf_counter(), "", Outcome("end")
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Finished):
                outcome = event.outcome
            else:
                text += event.text
    return text, outcome, _ms(started)


def _stages(outcome: Outcome) -> str:
    read = outcome.prompt_tokens - outcome.reused_tokens
    return (
        f"prefill {outcome.prefill_ms:,.0f} ms for {read} tokens ({outcome.reused_tokens} more were known), "
        f"decode {outcome.decode_ms:,.0f} ms for {outcome.completion_tokens}"
    )


def _figures(outcome: Outcome, total: float) -> dict[str, float]:
    return {
        "queued_ms": round(outcome.queued_ms, 1),
        "prefill_ms": round(outcome.prefill_ms, 1),
        "decode_ms": round(outcome.decode_ms, 1),
        "total_ms": round(total, 1),
        "prompt_tokens": outcome.prompt_tokens,
        "reused_tokens": outcome.reused_tokens,
        "completion_tokens": outcome.completion_tokens,
    }


def _ms(since: float) -> float:
    return (time.perf_counter() - since) * 1000
