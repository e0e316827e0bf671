"""A model that is told what to say, and a person who looks at what is suggested of it. Knows no LSP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from fakes.teller import Teller

from inference.api.errors import EngineError, ModelRefused
from inference.api.events import Cause, Finished, Outcome, TextChunk
from inference.api.requests import CompletionRequest
from lsp_server.completion.pipeline import CompletionPipeline, CompletionRun
from lsp_server.completion.trace import Record
from lsp_server.lsp.completion_request import UnderAdapter
from lsp_server.settings import CompletionSettings
from lsp_server.snapshot import Position, take

SETTINGS = CompletionSettings(debounce_ms=0)
URI = "file:///a.py"


@dataclass
class Told:
    """Says ``texts`` by prompt, or by prompt and seed; "|" in one is where it stands still until ``go``.

    Under an adapter it says the adapter's name first. ``refuses`` are the requests, counted from 1, whose adapter it
    does not have.
    """

    texts: dict[str | tuple[str, int], str] = field(default_factory=dict)
    asked: list[CompletionRequest] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    cause: Cause = "end"
    refuses: set[int] = field(default_factory=set)

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        self.asked.append(request)
        prompt, seed = str(request.prompt), request.sampling.seed
        text = self.texts.get((prompt, seed) if seed else prompt, "")
        if request.model and len(self.asked) in self.refuses:
            raise ModelRefused("There is no such adapter.")
        text = f"<{request.model}>{text}" if request.model else text
        if text == "boom":
            raise EngineError("The engine failed.")
        try:
            first, still, rest = text.partition("|")
            if first:
                yield TextChunk(first)
            if still:
                await self.go.wait()
                yield TextChunk(rest)
            yield Finished(Outcome(self.cause), request.model)
        except GeneratorExit:
            self.left.append(prompt)
            raise
        except asyncio.CancelledError:
            self.left.append(prompt)
            raise

    @property
    def prompts(self) -> list[str]:
        return [str(request.prompt) for request in self.asked]


class AtOnce(Executor):
    """Needs no thread and no time."""

    def submit(self, fn, /, *args, **kwargs) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


class Person:
    """Types into one document, and looks at what is suggested. Texts are put into shape ``beside``, or at once."""

    def __init__(self, model: Told | Teller, settings: CompletionSettings = SETTINGS, *, beside: bool = False) -> None:
        self.model, self.settings = model, settings
        self.suggestions = CompletionPipeline() if beside else CompletionPipeline(postprocess_executor=AtOnce())
        self.record = Record(URI, 0, False)

    def asks(self, before: str, *, by_hand: bool = False, adapter: str = "", **known) -> CompletionRun:
        self.record = Record(URI, 0, by_hand, adapter=adapter)
        snapshot = take(before, Position(0, len(before)), "utf-32", uri=URI)
        engine = UnderAdapter(self.model, adapter, lambda _: None) if adapter else self.model
        return CompletionRun(snapshot, self.settings, engine, self.record, by_hand, adapter, **known)

    async def sees(self, before: str, *, count: int = 1, **asked) -> list[str]:
        return await self.suggestions.suggest(self.asks(before, **asked), count)
