"""The completion pipeline: cache, in-flight generation, debounce, backend, post-processing.

A superseded or cancelled request is a cancelled task here. The generation it started goes on only if the next request
can reuse it (``in_flight``). Every generation that finishes is cached.
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

from inference.api.engine_errors import EngineError, EngineUnavailable
from inference.api.events import Finished, Sampling, TextChunk
from inference.api.requests import CompletionRequest, Priority
from inference.models.adapter_store import Stamp
from inference.text.prompts import Snippet
from lsp_server.completion.cache import Cache, CacheKey, Hit, Scope, may_still_match, typing_may_reach
from lsp_server.completion.confidence import TokenProbabilities, token_probabilities
from lsp_server.completion.debounce import TypingRate, debounce
from lsp_server.completion.in_flight import Generation, InFlightGenerations
from lsp_server.completion.postprocess.rules import Postprocessed, postprocess
from lsp_server.completion.stop_rule import stop_rule
from lsp_server.completion.trace import TraceRecord
from lsp_server.completion.windows import prefix_window, suffix_window
from lsp_server.settings import CompletionSettings
from lsp_server.snapshot import Snapshot

INVOKED_DEADLINE_FACTOR = 4
"""An explicitly invoked request may take this many times longer than an automatic one."""
ALTERNATIVE_TEMPERATURE = 0.8
"""Sampling temperature of the alternatives."""


class Completer(Protocol):
    """The part of a backend that the pipeline needs (``backend.Backend``)."""

    def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream a completion. Raises ``EngineError``."""
        ...


@dataclass
class CompletionRun:
    """One completion request and everything its result depends on.

    Attributes:
        record: the trace record of this request. The pipeline writes to it and never reads it.
        invoked: the user triggered the request explicitly.
        adapter: name of the user's adapter to complete with; empty for none.
        model: id of the model that the backend runs.
        adapter_version: stamp of the adapter's files, which change when it is trained again.
        snippets: cross-file context for the prompt.
        adapter_refused: the backend completed without the adapter.
    """

    snapshot: Snapshot
    settings: CompletionSettings
    engine: Completer
    record: TraceRecord
    invoked: bool = False
    adapter: str = ""
    model: str = ""
    adapter_version: Stamp = ()
    snippets: tuple[Snippet, ...] = ()
    adapter_refused: bool = False

    def __post_init__(self) -> None:
        here = self.snapshot
        scope = Scope(
            here.uri, here.language, self.model, self.adapter, self.settings, self.adapter_version, self.snippets
        )
        self.cache_key = CacheKey(scope, here.before, here.after)

    def after_accepting(self, text: str) -> CompletionRun:
        """Return the request that follows once ``text`` is inserted. Its record is in no trace."""
        snapshot = self.snapshot
        after = replace(snapshot, before=snapshot.before + text, line=snapshot.line + text.count("\n"))
        record = TraceRecord(snapshot.uri, after.line, invoked=False, adapter=self.adapter)
        return replace(self, snapshot=after, record=record, invoked=False)


@dataclass(eq=False)
class GenerationWork:
    """The request that started a generation, and its post-processed result.

    Attributes:
        displayed: the text to show; empty if it is empty or not confident enough.
        text: the post-processed text before the confidence threshold is applied.
        low_confidence: the token probabilities, if they are below the threshold.
    """

    run: CompletionRun
    displayed: Postprocessed = field(default_factory=lambda: Postprocessed(""))
    text: str = ""
    low_confidence: TokenProbabilities | None = None
    postprocess_ms: float = 0.0

    @property
    def cache_key(self) -> CacheKey:
        """The key under which the result is cached."""
        return self.run.cache_key


@dataclass
class CompletionPipeline:
    """The state shared by the completion requests of one editor session.

    Attributes:
        postprocess_executor: one thread that post-processes all texts, in the order in which they were generated.
            Parsing takes milliseconds, during which the event loop handles keystrokes.
        clock: seconds; measures how long a request has waited for the model.
    """

    cache: Cache = field(default_factory=Cache)
    in_flight: InFlightGenerations[GenerationWork] = field(default_factory=InFlightGenerations)
    typing_rate: TypingRate = field(default_factory=TypingRate)
    postprocess_executor: Executor = field(default_factory=lambda: ThreadPoolExecutor(1, "postprocess"))
    clock: Callable[[], float] = time.perf_counter

    async def suggest(self, run: CompletionRun, count: int = 1) -> list[str]:
        """Return at most ``count`` texts to insert at the cursor, the best first.

        The outcome, and the reason for an empty result, go to the run's record.
        """
        started, record = self.clock(), run.record
        try:
            hit = await self._best(run)
            texts = list(dict.fromkeys(filter(None, [hit.text, *await self._alternatives(run, count - 1)])))
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
        record.result, record.reason = ("shown", "") if texts else ("empty", hit.reason)
        return texts

    def prefetch(self, run: CompletionRun, text: str) -> None:
        """Generate what follows once ``text`` is accepted, at the lowest priority."""
        goal, uri = run.after_accepting(text), run.snapshot.uri
        known = self.cache.find(goal.cache_key) or self.in_flight.any_running(
            uri, lambda g: g.origin.cache_key == goal.cache_key
        )
        if not known and not run.adapter_refused:
            self._start(goal, _request(goal, priority="prefetch"), is_prefetch=True)

    async def _best(self, run: CompletionRun) -> Hit:
        """Return the most likely completion: cached, in flight, or generated after the debounce."""
        if hit := self._cached(run):
            return hit
        hit, waited_ms = await self._join_in_flight(run)
        if hit:
            return hit
        await self._debounce(run, waited_ms)
        return self._cached(run) or await self._generate(run, waited_ms)

    def _cached(self, run: CompletionRun) -> Hit | None:
        with run.record.timed("cache"):
            return self.cache.find(run.cache_key, invoked=run.invoked)

    async def _join_in_flight(self, run: CompletionRun) -> tuple[Hit | None, float]:
        """Reuse an in-flight generation if it matches this cursor. Also return the milliseconds spent on it."""
        key, record = run.cache_key, run.record
        running = self.in_flight.find(
            key.scope.uri,
            # a prefetch that has not started is requested again, at a higher priority
            lambda g: may_still_match(g.origin.cache_key, key, g.text) and (g.has_started or not g.is_prefetch),
            keep=lambda g: g.is_prefetch and g.origin.cache_key != key and typing_may_reach(key, g.origin.cache_key),
        )
        if running is None:
            return None, 0.0
        started = self.clock()
        matches = partial(may_still_match, running.origin.cache_key, key)
        with record.timed("engine"):
            matched = await running.follow(matches, linger=not run.invoked)
        hit = self.cache.find(key, invoked=run.invoked) if matched else None
        if hit:
            _trace_generation(record, running)
        return hit and hit._replace(source="running"), (self.clock() - started) * 1000

    async def _debounce(self, run: CompletionRun, waited_ms: float) -> None:
        """Wait for a pause in typing. Time already spent on a discarded generation counts."""
        record = run.record
        if run.invoked:
            return
        wanted_ms = debounce(run.snapshot.left, self.typing_rate, run.settings.debounce_ms)
        record.waited_ms = left_ms = max(wanted_ms - waited_ms, 0.0)
        with record.timed("debounce"):
            await asyncio.sleep(left_ms / 1000)

    async def _generate(self, run: CompletionRun, waited_ms: float) -> Hit:
        """Request a completion; ``waited_ms`` counts towards its deadline. Raises ``EngineError``."""
        record, started = run.record, self.clock()
        with record.timed("engine"):
            request = _request(run, waited_ms=waited_ms)
            record.amount = request.stop_rule.kind
            generation = self._start(run, request)
            if not await generation.follow(lambda _: True, linger=not run.invoked):
                raise EngineUnavailable("the server is shutting down")
        self.typing_rate.record_latency((self.clock() - started) * 1000)
        _trace_generation(record, generation)
        return Hit(generation.origin.displayed.text, "", generation.origin.displayed.empty_reason)

    async def _alternatives(self, run: CompletionRun, count: int) -> list[str]:
        """Sample other completions with the seeds 1 to ``count``. Those that fail are left out."""
        if count < 1:
            return []
        key = f"{run.snapshot.uri}#alternatives"  # other requests must not join these
        started = [
            self.in_flight.start(
                key, Generation(GenerationWork(run)), run.engine.complete(_request(run, seed)), self._postprocess
            )
            for seed in range(1, count + 1)
        ]
        with run.record.timed("engine"), suppress(EngineError):
            await asyncio.gather(*(generation.follow(lambda _: True, linger=False) for generation in started))
        texts = [generation.origin.displayed.text for generation in started]
        for text in filter(None, texts):
            self.cache.put_alternative(run.cache_key, text)
        return texts

    def _start(
        self, run: CompletionRun, request: CompletionRequest, *, is_prefetch: bool = False
    ) -> Generation[GenerationWork]:
        generation = Generation(GenerationWork(run), is_prefetch=is_prefetch)
        return self.in_flight.start(run.snapshot.uri, generation, run.engine.complete(request), self._finish)

    async def _finish(self, generation: Generation[GenerationWork]) -> None:
        """Post-process a complete generation and cache it, unless the backend refused the adapter."""
        await self._postprocess(generation)
        work, outcome = generation.origin, generation.outcome
        work.run.adapter_refused = generation.adapter != work.cache_key.scope.adapter
        if not work.run.adapter_refused:
            cut = outcome is not None and outcome.cause == "deadline"
            self.cache.put(
                work.cache_key, work.text, work.displayed.empty_reason, cut=cut, low_confidence=work.low_confidence
            )

    async def _postprocess(self, generation: Generation[GenerationWork]) -> None:
        await asyncio.get_running_loop().run_in_executor(self.postprocess_executor, _postprocess_generation, generation)


def _postprocess_generation(generation: Generation[GenerationWork]) -> None:
    """Post-process a complete generation. Runs in a thread: nothing else accesses its work until this returns."""
    work, started = generation.origin, time.perf_counter()
    cut = generation.outcome is not None and generation.outcome.cause in ("length", "deadline")
    result = postprocess(work.run.snapshot, generation.text, cut=cut)
    threshold = 0.0 if work.run.invoked else work.run.settings.min_confidence
    probabilities = token_probabilities(generation.tokens, generation.text, result.text)
    work.text, work.displayed = result.text, result
    if result.text and probabilities.confidence_after(0) < threshold:
        work.low_confidence, work.displayed = probabilities, Postprocessed("", (*result.rules, "confidence"))
    work.postprocess_ms = (time.perf_counter() - started) * 1000


def _trace_generation(record: TraceRecord, generation: Generation[GenerationWork]) -> None:
    work = generation.origin
    record.outcome, record.generated = generation.outcome, len(generation.text)
    record.adapter = generation.adapter
    record.filter = ", ".join(work.displayed.rules)
    record.stages["shape"] = round(work.postprocess_ms, 3)


def greedy_request(snapshot: Snapshot, settings: CompletionSettings) -> CompletionRequest:
    """Build the greedy completion request for a cursor, without deadline and cross-file context."""
    logprobs = 0 if settings.min_confidence else None
    return CompletionRequest(
        prompt=prefix_window(snapshot.before, settings.prefix_chars),
        suffix=suffix_window(snapshot.after, settings.suffix_chars),
        sampling=Sampling(max_tokens=settings.max_tokens, logprobs=logprobs),
        stop_rule=stop_rule(snapshot),
        session=snapshot.uri,
    )


def _request(
    run: CompletionRun, seed: int | None = None, priority: Priority = "completion", waited_ms: float = 0.0
) -> CompletionRequest:
    """Build the request of a run: greedy without a ``seed``, else sampled.

    ``waited_ms`` has already been spent on a discarded generation and shortens the deadline.
    """
    greedy, settings = greedy_request(run.snapshot, run.settings), run.settings
    sampling = replace(greedy.sampling, temperature=0.0 if seed is None else ALTERNATIVE_TEMPERATURE, seed=seed)
    limit_ms = settings.deadline_ms * (INVOKED_DEADLINE_FACTOR if run.invoked else 1)
    deadline_ms = max(int(limit_ms - waited_ms), 1)
    return replace(greedy, sampling=sampling, context=run.snippets, priority=priority, deadline_ms=deadline_ms)
