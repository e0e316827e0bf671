"""Checks of the running engine, and a smoke test that starts one and times an infilling and a chat.

The smoke test holds a lease as an editor session does. It checks that there is a response, not how good it is:
``codellama-ls eval`` measures that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, suppress
from typing import Any

import psutil

import inference
from inference.api.engine_errors import EngineError, ModelRefused
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
from inference.doctor.check import Check, ReportProgress
from inference.errors import CodeLlamaError
from inference.planning.planner import format_bytes
from inference.system.runtime_folder import NotPrivateError, runtime_folder
from inference.text.prompts import Message
from inference.text.stopping import StopRule

STATS_SECONDS = 10.0
LOAD_SECONDS = 900.0
"""The first start of a large model quantises it."""

SEE_LOG = "See `codellama-ls engine logs`."

DEADLINE_MS = 120_000
TOKENS = 16
PREFIX, SUFFIX = "def add(a, b):\n    return ", "\n\n\nprint(add(2, 3))\n"
QUESTION = "Say hello."


class NotLoadedError(CodeLlamaError):
    """The engine can't load its models."""


def engine_stats() -> dict[str, Any] | None:
    """Return the running engine's ``/stats``, or None if no engine runs or responds."""
    with suppress(EngineError, NotPrivateError, TimeoutError, OSError):
        return asyncio.run(asyncio.wait_for(_stats(), STATS_SECONDS))
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
    """Return True if the engine holds these models' weights."""
    return stats is not None and set(models) <= set(stats["models"])


def check_engine(stats: Mapping[str, Any] | None) -> Iterator[Check]:
    """Check the running engine, and whether the previous one ended normally."""
    if stats is None and _listens():
        text = "an engine listens but does not respond; it may hang"
        yield Check("engine", "problem", text, "End it with `codellama-ls engine stop --now`.")
        return
    if stats is None:
        yield Check("engine", "ok", "not running; the first editor session starts it")
        if last_engine_crashed():
            text = f"the last engine ended unexpectedly: {crash_report.likely_cause(log_path())}"
            yield Check("last engine", "warning", text, SEE_LOG, quotes=True)
        return
    engine = stats["engine"]
    yield _running(stats, engine)
    if engine["crash"]:
        text = f"the previous engine ended unexpectedly: {engine['crash']}"
        yield Check("last engine", "warning", text, SEE_LOG, quotes=True)


def _running(stats: Mapping[str, Any], engine: Mapping[str, Any]) -> Check:
    memory, windows = stats["memory"], stats["windows"]
    figures = {name: memory[name] for name in ("resident_bytes", "gpu_bytes")}
    sessions = f"{windows} editor session{'s' * (windows != 1)}"
    text = f"version {engine['version']}, {engine['phase']}, {sessions}, {format_bytes(memory['resident_bytes'])}"
    if engine["phase"] not in (*ANSWERING, "loading"):
        advice = "Run `codellama-ls engine stop`. The next completion request starts it again."
        return Check("engine", "problem", f"{text}: {engine['message']}", advice, figures, quotes=True)
    if engine["version"] != inference.__version__:
        advice = "Run `codellama-ls engine stop`. The next editor session starts the installed version."
        return Check("engine", "warning", f"{text}, but {inference.__version__} is installed", advice, figures)
    return Check("engine", "ok", text, figures=figures)


def _listens() -> bool:
    with suppress(NotPrivateError, OSError):
        return asyncio.run(listens(socket_path()))
    return False


def last_engine_crashed() -> bool:
    """Return True if the last engine left its crash mark since the machine was booted."""
    with suppress(NotPrivateError, OSError):
        mark = runtime_folder() / crash_report.CRASH_MARK
        return mark.stat().st_mtime >= psutil.boot_time()
    return False


async def smoke_test(options: EngineOptions, say: ReportProgress) -> AsyncIterator[Check]:
    """Start the engine if none runs, wait until it is ready, and send requests. Every failure is a check."""
    started = time.perf_counter()
    try:
        ran = await listens(socket_path())
        allow_one_more()
        client = EngineClient(await ensure_engine(options))
    except (EngineNotStarted, NotPrivateError, OSError) as error:
        yield Check("engine start", "problem", str(error), SEE_LOG, quotes=True)
        return
    up = _ms_since(started)
    try:
        async with aclosing(client.lease()) as statuses:
            say("loading the model")
            async with asyncio.timeout(LOAD_SECONDS):
                status = await _ready(statuses, say)
            yield _loaded(ran, status, up, _ms_since(started) - up)
            async for check in _requests(client, status, say):
                yield check
    except (NotLoadedError, EngineError, TimeoutError) as error:
        text = str(error) or f"it did not load within {LOAD_SECONDS:.0f} seconds"
        yield Check("loading", "problem", text, SEE_LOG, quotes=True)
    finally:
        await client.aclose()


async def _ready(statuses: AsyncGenerator[Status, None], say: ReportProgress) -> Status:
    """Wait until the engine can respond and return its status. Raises NotLoadedError."""
    async for status in statuses:
        if status.phase in ("ready", "idle"):
            return status
        if status.phase != "loading":
            raise NotLoadedError(status.message)
        say(f"loading the model: {status.message} {status.progress} %")
    raise NotLoadedError("The engine ended while loading.")


def _loaded(ran: bool, status: Status, up: float, load: float) -> Check:
    models = " and ".join(sorted(status.models))
    if ran and status.phase == "ready" and load < 1000:
        return Check("loading", "ok", f"an engine with {models} was already running, so no cold start was measured")
    figures = {"start_ms": round(up), "load_ms": round(load)}
    text = f"{models}: {up:,.0f} ms until the process listened, {load:,.0f} ms more until it was ready"
    return Check("loading", "ok", text, figures=figures)


async def _requests(client: EngineClient, status: Status, say: ReportProgress) -> AsyncIterator[Check]:
    if status.phase == "idle":
        say("reloading the weights that the idle engine had unloaded")
        started = time.perf_counter()
        await read_response(client.complete(_completion(None, 1)))
        text = f"unloaded weights were reloaded and a token generated in {_ms_since(started):,.0f} ms"
        yield Check("waking", "ok", text, figures={"load_ms": round(_ms_since(started))})
    say("requesting an infilling")
    suffix = None if status.limits else SUFFIX
    yield await _response("infill", client.complete(_completion(suffix, TOKENS)), status.limits)
    say("requesting a chat response")
    chat = ChatRequest((Message("user", QUESTION),), sampling=Sampling(max_tokens=TOKENS), deadline_ms=DEADLINE_MS)
    yield await _response("chat", client.chat(chat))


def _completion(suffix: str | None, tokens: int) -> CompletionRequest:
    sampling = Sampling(max_tokens=tokens)
    return CompletionRequest(PREFIX, suffix, sampling=sampling, stop_rule=StopRule("line"), deadline_ms=DEADLINE_MS)


async def _response(name: str, events: AsyncGenerator[TextChunk | Finished, None], limits: str = "") -> Check:
    """Check one response. ``limits`` describes what the model was not trained for."""
    try:
        text, outcome, total = await read_response(events)
    except ModelRefused as refusal:
        return Check(name, "warning", str(refusal), "To chat, set engine.chatModel to an Instruct model.")
    except EngineError as error:
        return Check(name, "problem", str(error), SEE_LOG, quotes=True)
    figures = _figures(outcome, total)
    if not text.strip():
        return Check(name, "warning", f"the model's response is empty; {_timing(outcome)}", "Try again.", figures)
    return Check(name, "warning" if limits else "ok", _timing(outcome), limits, figures)


async def read_response(events: AsyncGenerator[TextChunk | Finished, None]) -> tuple[str, Outcome, float]:
    """Read a response to its end. Return its text, its outcome and the total milliseconds. Raises EngineError."""
    started, text, outcome = time.perf_counter(), "", Outcome("end")
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Finished):
                outcome = event.outcome
            else:
                text += event.text
    return text, outcome, _ms_since(started)


def _timing(outcome: Outcome) -> str:
    prefilled = outcome.prompt_tokens - outcome.reused_tokens
    return (
        f"prefill {outcome.prefill_ms:,.0f} ms for {prefilled} tokens ({outcome.reused_tokens} more from the cache), "
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


def _ms_since(start: float) -> float:
    return (time.perf_counter() - start) * 1000
