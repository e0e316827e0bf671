"""The requests for each hole, and the engine's completions, kept in a journal so that an interrupted run resumes.

The requests are the language server's own (``pipeline.greedy_request``, ``CrossFileCollector.snippets``) with three
differences. They have no deadline, so that a busy machine gives the same text. The prefix-only request has no suffix
and no stop rule of ours. A block is generated without a stop rule: greedy text is the same up to where the rule ends
it, and ``gain_figures`` applies the rule afterwards.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from inference.api.engine_errors import EngineUnavailable
from inference.api.events import Finished, TextChunk, TokenProbability
from inference.api.requests import CompletionRequest
from inference.evaluation.batch_journal import BatchJournal, key_of
from inference.text.prompts import Snippet
from inference.text.stopping import StopRule
from lsp_server.benchmark.gains.gain_holes import GainHole
from lsp_server.completion.pipeline import Completer, greedy_request
from lsp_server.completion.stop_rule import LINE
from lsp_server.context.cross_file import CrossFileCollector, OpenFile
from lsp_server.disk import privacy
from lsp_server.settings import CompletionSettings


@dataclass(frozen=True, slots=True)
class TextLimits:
    """Characters of the prompt and most tokens of a completion."""

    prefix_chars: int
    suffix_chars: int
    context_chars: int
    line_tokens: int
    block_tokens: int

    def settings(self, hole: GainHole) -> CompletionSettings:
        """Return the language server's settings with these limits."""
        return CompletionSettings(
            prefix_chars=self.prefix_chars,
            suffix_chars=self.suffix_chars,
            context_chars=self.context_chars,
            min_confidence=0.0,
            max_tokens=self.block_tokens if hole.kind == "block" else self.line_tokens,
        )


@dataclass(frozen=True, slots=True)
class HoleRequests:
    """The requests for one hole. ``context`` is None where other files give no snippets."""

    hole: GainHole
    prefix: CompletionRequest
    infill: CompletionRequest
    context: CompletionRequest | None

    @property
    def window(self) -> str:
        """The text of the document in the prompt."""
        return f"{self.infill.prompt}{self.infill.suffix}"


@dataclass(frozen=True, slots=True)
class GainCompletion:
    """One completion and why it ended; ``tokens`` only where log-probabilities were requested."""

    text: str
    cause: str
    tokens: tuple[TokenProbability, ...] = ()
    prompt_tokens: int = 0
    written_tokens: int = 0

    def to_json(self) -> dict[str, Any]:
        tokens = [[token.piece.decode(errors="replace"), round(token.logprob, 4)] for token in self.tokens]
        return {**asdict(self), "tokens": tokens}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> GainCompletion:
        """Read the form that ``to_json`` writes."""
        tokens = tuple(TokenProbability(piece.encode(), chance) for piece, chance in row["tokens"])
        return cls(**{**row, "tokens": tokens})


@dataclass(frozen=True, slots=True)
class CompletedHole:
    """The completions of one hole."""

    question: HoleRequests
    prefix: GainCompletion
    infill: GainCompletion
    context: GainCompletion | None = None

    @property
    def hole(self) -> GainHole:
        """The hole of the requests."""
        return self.question.hole


def requests_for(hole: GainHole, limits: TextLimits) -> HoleRequests:
    """Build the requests for one hole. Reads files that the document imports."""
    base = greedy_request(hole.snapshot, limits.settings(hole))
    block = hole.kind == "block"
    infill = replace(base, sampling=replace(base.sampling, logprobs=0))
    chunks = _chunks(hole, f"{base.prompt}{base.suffix}", limits.context_chars)
    return HoleRequests(
        hole,
        prefix=replace(base, suffix=None, stop_rule=StopRule() if block else LINE),
        infill=replace(infill, stop_rule=StopRule()) if block else infill,
        context=replace(base, context=chunks) if chunks else None,
    )


class CompletionSource:
    """Completions from the journal, else from ``engine``. ``identity`` names the model in the journal."""

    def __init__(self, engine: Completer, journal: BatchJournal, identity: str) -> None:
        self._engine, self._journal, self._identity = engine, journal, identity

    def known(self, question: HoleRequests) -> bool:
        """Return True if the journal has every completion of a hole."""
        return all(self._journal.recall(self._key(request), 1) for _, request in _requests(question))

    async def ask(self, question: HoleRequests) -> CompletedHole:
        """Return every completion of a hole. Raises ``EngineError``."""
        found: dict[str, GainCompletion] = {}
        for name, request in _requests(question):
            found[name] = await self._answer(request, f"{name} {question.hole.kind} {question.hole.name}")
        return CompletedHole(question, **found)

    async def _answer(self, request: CompletionRequest, name: str) -> GainCompletion:
        key = self._key(request)
        rows = self._journal.recall(key, 1)
        if rows is None:
            rows = [(await _ask(self._engine, request)).to_json()]
            self._journal.keep(key, rows, [name])
        return GainCompletion.from_json(rows[0])

    def _key(self, request: CompletionRequest) -> str:
        return key_of(self._identity, request.to_json() | {"session": ""})


def _requests(question: HoleRequests) -> list[tuple[str, CompletionRequest]]:
    """List the requests by name. In SPM the last two begin with the same suffix, which is prefilled once."""
    asked = [("prefix", question.prefix), ("infill", question.infill)]
    return [*asked, ("context", question.context)] if question.context else asked


def _chunks(hole: GainHole, window: str, limit: int) -> tuple[Snippet, ...]:
    """Collect snippets as if only this document were open and had just been opened."""
    if not limit:
        return ()
    root, snapshot = hole.project, hole.snapshot
    here = OpenFile(snapshot.uri, root / hole.name, snapshot.language, snapshot.before + snapshot.after)
    context = CrossFileCollector(lambda path: _may_read(path, root), clock=lambda: 0.0)  # no source times out
    return context.snippets(snapshot, window, [here], root, limit)


def _may_read(path: Path, root: Path) -> bool:
    return privacy(path, [root]) is None


async def _ask(engine: Completer, request: CompletionRequest) -> GainCompletion:
    text, tokens = "", []
    async with aclosing(engine.complete(request)) as events:
        async for event in events:
            if isinstance(event, TextChunk):
                text += event.text
                tokens += event.tokens
            elif isinstance(event, Finished):
                outcome = event.outcome
                return GainCompletion(
                    text, outcome.cause, tuple(tokens), outcome.prompt_tokens, outcome.completion_tokens
                )
    raise EngineUnavailable("The engine ended the stream early.")
