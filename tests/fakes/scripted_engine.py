"""A scripted engine behind the completion pipeline, and a harness that asks the pipeline for completions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import Executor, Future
from dataclasses import KW_ONLY, dataclass, field
from math import log
from typing import Any

from inference.api.events import Cause, Finished, Outcome, TextChunk, TokenProbability
from inference.api.requests import CompletionRequest
from inference.client.engine_client import EngineError, EngineUnavailable, ModelRefused
from lsp_server.completion.pipeline import CompletionPipeline, CompletionRun
from lsp_server.completion.trace import TraceRecord
from lsp_server.lsp.completion_request import AdapterWithFallback
from lsp_server.settings import CompletionSettings
from lsp_server.snapshot import Position, take

SETTINGS = CompletionSettings(debounce_ms=0)
URI = "file:///a.py"


@dataclass
class ScriptedEngine:
    """An engine with scripted responses, one text chunk a line; each line is a token of probability 0.5.

    Attributes:
        texts: the text by prompt, or by prompt and sampling seed. "|" stops there until ``go``; "boom" raises
            EngineError. A request under an adapter gets the adapter's name first.
        prefix, infill, context: the text for any other prompt without a suffix, with one, and with snippets.
        cause: why the text ends.
        refuses: numbers, from 1, of requests whose adapter is unknown.
        limit: requests answered before the engine is gone.
        asked: every request.
        left: prompts of requests that were cancelled.
    """

    texts: dict[str | tuple[str, int], str] = field(default_factory=dict)
    asked: list[CompletionRequest] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    cause: Cause = "end"
    refuses: set[int] = field(default_factory=set)
    _: KW_ONLY
    prefix: str = ""
    infill: str = ""
    context: str = ""
    limit: int = 1_000

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream the text for a request."""
        if len(self.asked) == self.limit:
            raise EngineUnavailable("gone")
        self.asked.append(request)
        if request.model and len(self.asked) in self.refuses:
            raise ModelRefused("There is no such adapter.")
        text = self._text(request)
        if text == "boom":
            raise EngineError("The engine failed.")
        try:
            for n, part in enumerate(text.split("|", 1)):
                if n:
                    await self.go.wait()
                for line in part.splitlines(keepends=True):
                    yield TextChunk(line, _tokens(line, request))
            yield Finished(Outcome(self.cause), request.model)
        except (GeneratorExit, asyncio.CancelledError):
            self.left.append(str(request.prompt))
            raise

    def _text(self, request: CompletionRequest) -> str:
        prompt, seed = str(request.prompt), request.sampling.seed
        usual = self.prefix if request.suffix is None else self.context if request.context else self.infill
        text = self.texts.get((prompt, seed) if seed else prompt, usual)
        return f"<{request.model}>{text}" if request.model and text != "boom" else text

    @property
    def prompts(self) -> list[str]:
        """The prompt of every request."""
        return [str(request.prompt) for request in self.asked]


def _tokens(line: str, request: CompletionRequest) -> tuple[TokenProbability, ...]:
    return (TokenProbability(line.encode(), log(0.5)),) if request.sampling.logprobs is not None else ()


class InlineExecutor(Executor):
    """Run each call at once, in the caller's thread."""

    def submit(self, fn, /, *args, **kwargs) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


class PipelineHarness:
    """Ask the completion pipeline for completions in one document.

    With ``beside`` post-processing runs in another thread, as in the server; else at once.
    """

    def __init__(self, model: ScriptedEngine, settings: CompletionSettings = SETTINGS, *, beside: bool = False) -> None:
        self.model, self.settings = model, settings
        self.suggestions = CompletionPipeline() if beside else CompletionPipeline(postprocess_executor=InlineExecutor())
        self.record = TraceRecord(URI, 0, False)

    def asks(self, before: str, *, by_hand: bool = False, adapter: str = "", **known) -> CompletionRun:
        """Return a run of the pipeline with the cursor after ``before``."""
        self.record = TraceRecord(URI, 0, by_hand, adapter=adapter)
        snapshot = take(before, Position(0, len(before)), "utf-32", uri=URI)
        engine = AdapterWithFallback(self.model, adapter, lambda _: None) if adapter else self.model
        return CompletionRun(snapshot, self.settings, engine, self.record, by_hand, adapter, **known)

    async def sees(self, before: str, *, count: int = 1, **asked) -> list[str]:
        """Return at most ``count`` completions with the cursor after ``before``."""
        return await self.suggestions.suggest(self.asks(before, **asked), count)
