"""Suggestions, from a snapshot to the texts to insert: remember, go on, wait, ask, shape. Knows no LSP types.

A request that is superseded or cancelled is a cancelled task here; what the engine was writing for it goes on only if
the next request can use it (``generations``). Whatever was written whole is remembered (``cache``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from inference.api.errors import EngineError, EngineUnavailable
from inference.api.events import Finished, Sampling, TextChunk
from inference.api.requests import CompletionRequest, Priority
from inference.models.adapter_store import Stamp
from inference.text.prompts import Snippet
from lsp_server.completion.cache import Cache, CacheKey, Hit, Scope, may_become, on_the_way
from lsp_server.completion.confidence import TokenProbabilities, token_probabilities
from lsp_server.completion.debounce import TypingRate, debounce
from lsp_server.completion.in_flight import Generation, InFlightGenerations
from lsp_server.completion.postprocess.rules import Postprocessed, postprocess
from lsp_server.completion.stop_rule import stop_rule
from lsp_server.completion.trace import Record
from lsp_server.completion.windows import prefix_window, suffix_window
from lsp_server.settings import CompletionSettings
from lsp_server.snapshot import Snapshot

PATIENCE = 4
"""Who asks by hand waits this many times longer than who merely types."""
TEMPERATURE = 0.8
"""Of alternatives."""


class Completer(Protocol):
    """An engine, as far as completions go (``engine_link.EngineLink``)."""

    def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Raises ``EngineError``."""
        ...


@dataclass
class CompletionRun:
    """One request.

    Attributes:
        record: the trace of this request. It is written to, never read.
        invoked: the user asked for it by hand.
        adapter: the user's adapter that the model is asked for; empty for none.
        model: the one the engine runs.
        edition: which training of the adapter.
        context: snippets of other files to be shown to the model.
        refused: the engine answered without the adapter.
    """

    snapshot: Snapshot
    settings: CompletionSettings
    engine: Completer
    record: Record
    invoked: bool = False
    adapter: str = ""
    model: str = ""
    edition: Stamp = ()
    context: tuple[Snippet, ...] = ()
    refused: bool = False

    def __post_init__(self) -> None:
        here = self.snapshot
        about = (here.uri, here.language, self.model, self.adapter, self.settings, self.edition, self.context)
        self.place = CacheKey(Scope(*about), here.before, here.after)

    def once_accepted(self, text: str) -> CompletionRun:
        """What will be asked when ``text`` has been inserted. Nobody asks yet: its record is in no trace."""
        snapshot = self.snapshot
        after = replace(snapshot, before=snapshot.before + text, line=snapshot.line + text.count("\n"))
        record = Record(snapshot.uri, after.line, invoked=False, adapter=self.adapter)
        return replace(self, snapshot=after, record=record, invoked=False)


@dataclass(eq=False)
class GenerationWork:
    """What one generation is for, and what came of it.

    Attributes:
        written: what would be shown if the model were sure of it.
        doubted: how likely its words were, where that was not enough: then nothing is ``shaped``.
    """

    asked: CompletionRun
    shaped: Postprocessed = field(default_factory=lambda: Postprocessed(""))
    written: str = ""
    doubted: TokenProbabilities | None = None
    shape_ms: float = 0.0

    @property
    def place(self) -> CacheKey:
        """Where the answer belongs."""
        return self.asked.place


@dataclass
class CompletionPipeline:
    """What is remembered from one request to the next.

    Attributes:
        shaper: one thread in which all texts are put into shape, in the order in which they were written: parsing takes
            milliseconds, and the event loop has keys to answer.
        clock: seconds; measures how long a request has waited for the model.
    """

    cache: Cache = field(default_factory=Cache)
    generations: InFlightGenerations[GenerationWork] = field(default_factory=InFlightGenerations)
    rhythm: TypingRate = field(default_factory=TypingRate)
    shaper: Executor = field(default_factory=lambda: ThreadPoolExecutor(1, "shape"))
    clock: Callable[[], float] = time.perf_counter

    async def suggest(self, asked: CompletionRun, most: int = 1) -> list[str]:
        """Texts to insert at the cursor, the best first: none, or up to ``most``. The record is told why."""
        started, record = self.clock(), asked.record
        try:
            hit = await self._found(asked)
            texts = list(dict.fromkeys(filter(None, [hit.text, *await self._sampled(asked, most - 1)])))
        except asyncio.CancelledError:
            record.cancel()
            raise
        except EngineUnavailable as error:
            record.result, record.reason = "not ready", str(error)
            return []
        except EngineError as error:
            record.result, record.reason = "failed", str(error)
            return []
        finally:
            record.total_ms = (self.clock() - started) * 1000
        record.shown, record.source, record.alternatives = len("".join(texts[:1])), hit.source, len(texts[1:])
        record.result, record.reason = ("shown", "") if texts else ("empty", hit.why)
        return texts

    def look_ahead(self, asked: CompletionRun, text: str) -> None:
        """Ask for what follows once ``text`` is accepted, when the model has nothing better to do."""
        goal, uri = asked.once_accepted(text), asked.snapshot.uri
        known = self.cache.find(goal.place) or self.generations.under_way(uri, lambda g: g.origin.place == goal.place)
        if not known and not asked.refused:
            self._begin(goal, _request(goal, priority="prefetch"), ahead=True)

    async def _found(self, asked: CompletionRun) -> Hit:
        if hit := self._remembered(asked):
            return hit
        hit, waited_ms = await self._continued(asked)
        if hit:
            return hit
        await self._pause(asked, waited_ms)
        return self._remembered(asked) or await self._written(asked, waited_ms)

    def _remembered(self, asked: CompletionRun) -> Hit | None:
        with asked.record.timed("cache"):
            return self.cache.find(asked.place, by_hand=asked.invoked)

    async def _continued(self, asked: CompletionRun) -> tuple[Hit | None, float]:
        """Reuse an in-flight generation if it matches this cursor; returns the milliseconds spent on it, too."""
        here, record = asked.place, asked.record
        running = self.generations.find(
            here.scope.uri,
            # what was asked for ahead and has not begun yet is asked for again, and comes sooner
            lambda g: may_become(g.origin.place, here, g.text) and (g.begun or not g.ahead),
            lambda g: g.ahead and g.origin.place != here and on_the_way(here, g.origin.place),
        )
        if running is None:
            return None, 0.0
        started = self.clock()
        suits = partial(may_become, running.origin.place, here)
        with record.timed("engine"):
            ended = await running.follow(suits, patient=not asked.invoked)
        hit = self.cache.find(here, by_hand=asked.invoked) if ended else None
        if hit:
            _note(record, running)
        return hit and hit._replace(source="running"), (self.clock() - started) * 1000

    async def _pause(self, asked: CompletionRun, waited_ms: float) -> None:
        """Debounce. Time already spent on a discarded generation counts."""
        record = asked.record
        if asked.invoked:
            return
        wanted = debounce(asked.snapshot.left, self.rhythm, asked.settings.debounce_ms)
        record.waited_ms = left_ms = max(wanted - waited_ms, 0.0)
        with record.timed("debounce"):
            await asyncio.sleep(left_ms / 1000)

    async def _written(self, asked: CompletionRun, waited_ms: float) -> Hit:
        """Ask the engine, which has ``waited_ms`` less time. Raises ``EngineError``."""
        record, started = asked.record, self.clock()
        with record.timed("engine"):
            request = _request(asked, waited_ms=waited_ms)
            record.amount = request.stop_rule.kind
            generation = self._begin(asked, request)
            if not await generation.follow(lambda _: True, patient=not asked.invoked):
                raise EngineUnavailable("the server is shutting down")
        self.rhythm.answered((self.clock() - started) * 1000)
        _note(record, generation)
        return Hit(generation.origin.shaped.text, "", generation.origin.shaped.why_nothing)

    async def _sampled(self, asked: CompletionRun, count: int) -> list[str]:
        """Other texts the model may write here, by chance; the same ones each time. As many as come well."""
        if count < 1:
            return []
        key = f"{asked.snapshot.uri}#alternatives"  # none that another request could go on with
        begun = [
            self.generations.begin(
                key, Generation(GenerationWork(asked)), asked.engine.complete(_request(asked, seed)), self._shape
            )
            for seed in range(1, count + 1)
        ]
        with asked.record.timed("engine"), suppress(EngineError):
            await asyncio.gather(*(generation.follow(lambda _: True, patient=False) for generation in begun))
        texts = [generation.origin.shaped.text for generation in begun]
        for text in filter(None, texts):
            self.cache.put_beside(asked.place, text)
        return texts

    def _begin(
        self, asked: CompletionRun, request: CompletionRequest, *, ahead: bool = False
    ) -> Generation[GenerationWork]:
        generation = Generation(GenerationWork(asked), ahead=ahead)
        return self.generations.begin(asked.snapshot.uri, generation, asked.engine.complete(request), self._end)

    async def _end(self, generation: Generation[GenerationWork]) -> None:
        """Shape what was written, and remember it."""
        await self._shape(generation)
        work = generation.origin
        place, outcome = work.asked.place, generation.outcome
        work.asked.refused = generation.adapter != place.scope.adapter
        if not work.asked.refused:
            cut = outcome is not None and outcome.cause == "deadline"
            self.cache.put(place, work.written, work.shaped.why_nothing, cut=cut, doubted=work.doubted)

    async def _shape(self, generation: Generation[GenerationWork]) -> None:
        await asyncio.get_running_loop().run_in_executor(self.shaper, _put_into_shape, generation)


def _put_into_shape(generation: Generation[GenerationWork]) -> None:
    """Of a text that is written whole: nobody changes it any more, nor looks at its shape yet."""
    work, started = generation.origin, time.perf_counter()
    cut = generation.outcome is not None and generation.outcome.cause in ("length", "deadline")
    shaped = postprocess(work.asked.snapshot, generation.text, cut=cut)
    least = 0.0 if work.asked.invoked else work.asked.settings.min_confidence
    sure = token_probabilities(generation.tokens, generation.text, shaped.text)
    work.written, work.shaped = shaped.text, shaped
    if shaped.text and sure.after(0) < least:
        work.doubted, work.shaped = sure, Postprocessed("", (*shaped.rules, "confidence"))
    work.shape_ms = (time.perf_counter() - started) * 1000


def _note(record: Record, generation: Generation[GenerationWork]) -> None:
    work = generation.origin
    record.outcome, record.generated = generation.outcome, len(generation.text)
    record.adapter = generation.adapter
    record.filter = ", ".join(work.shaped.rules)
    record.stages["shape"] = round(work.shape_ms, 3)


def request_for(snapshot: Snapshot, settings: CompletionSettings) -> CompletionRequest:
    """What the engine is asked at a position, for as long as it takes: the likeliest text."""
    logprobs = 0 if settings.min_confidence else None
    return CompletionRequest(
        prompt=prefix_window(snapshot.before, settings.prefix_chars),
        suffix=suffix_window(snapshot.after, settings.suffix_chars),
        sampling=Sampling(max_tokens=settings.max_tokens, logprobs=logprobs),
        stop_rule=stop_rule(snapshot),
        session=snapshot.uri,
    )


def _request(
    asked: CompletionRun, seed: int | None = None, priority: Priority = "completion", waited_ms: float = 0.0
) -> CompletionRequest:
    """Ask for the likeliest text or, with a ``seed``, a sampled one, by the deadline.

    ``waited_ms`` has been spent already, on a generation that was discarded.
    """
    plain, settings = request_for(asked.snapshot, asked.settings), asked.settings
    by_chance = replace(plain.sampling, temperature=0.0 if seed is None else TEMPERATURE, seed=seed)
    longest = settings.deadline_ms * (PATIENCE if asked.invoked else 1)
    deadline_ms = max(int(longest - waited_ms), 1)
    return replace(plain, sampling=by_chance, context=asked.context, priority=priority, deadline_ms=deadline_ms)
