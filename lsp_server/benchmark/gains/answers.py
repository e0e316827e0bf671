"""What the engine is asked at each place, and its answers, kept so that a run that was killed goes on.

The requests are the language server's own (``suggest.request_for``, ``context.gather``) but for three things: they have
no deadline, so that a busy machine answers the same; one for the prefix alone has no suffix, and ends where a peer's
would; and a block's infilling is left to end by itself: a greedy answer is the same up to where the stop rule ends it,
which ``stages`` finds later.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from inference.api.errors import EngineUnavailable
from inference.api.events import Finished, TextChunk, TokenProbability
from inference.api.requests import CompletionRequest
from inference.evaluation.answer_journal import AnswerJournal, key_of
from inference.text.prompts import Snippet
from inference.text.stopping import StopRule
from lsp_server.benchmark.gains.gain_holes import GainHole
from lsp_server.completion.pipeline import Completer, request_for
from lsp_server.completion.stop_rule import LINE
from lsp_server.context.cross_file import Context, OpenFile
from lsp_server.disk import privacy
from lsp_server.settings import CompletionSettings


@dataclass(frozen=True, slots=True)
class TextLimits:
    """How much the model sees and writes: characters, and tokens of an answer."""

    prefix_chars: int
    suffix_chars: int
    context_chars: int
    line_tokens: int
    block_tokens: int

    def settings(self, place: GainHole) -> CompletionSettings:
        """The language server's, set so."""
        return CompletionSettings(
            prefix_chars=self.prefix_chars,
            suffix_chars=self.suffix_chars,
            context_chars=self.context_chars,
            min_confidence=0.0,
            max_tokens=self.block_tokens if place.kind == "block" else self.line_tokens,
        )


@dataclass(frozen=True, slots=True)
class GainQuestion:
    """One place as it is put to the model. ``context`` is None where other files have nothing to say."""

    place: GainHole
    prefix: CompletionRequest
    infill: CompletionRequest
    context: CompletionRequest | None

    @property
    def window(self) -> str:
        """What the model sees of the document."""
        return f"{self.infill.prompt}{self.infill.suffix}"


@dataclass(frozen=True, slots=True)
class GainAnswer:
    """What the engine wrote, and what ended it; ``tokens`` where they were asked for."""

    text: str
    cause: str
    tokens: tuple[TokenProbability, ...] = ()
    prompt_tokens: int = 0
    written_tokens: int = 0

    def to_json(self) -> dict[str, Any]:
        tokens = [[token.piece.decode(errors="replace"), round(token.logprob, 4)] for token in self.tokens]
        return {**asdict(self), "tokens": tokens}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> GainAnswer:
        """What ``to_json`` made."""
        tokens = tuple(TokenProbability(piece.encode(), chance) for piece, chance in row["tokens"])
        return cls(**{**row, "tokens": tokens})


@dataclass(frozen=True, slots=True)
class AnsweredQuestion:
    """A question with all its answers."""

    question: GainQuestion
    prefix: GainAnswer
    infill: GainAnswer
    context: GainAnswer | None = None

    @property
    def place(self) -> GainHole:
        """Where it was asked."""
        return self.question.place


def question(place: GainHole, limits: TextLimits) -> GainQuestion:
    """The requests for one place. Reads files that the document imports."""
    base = request_for(place.snapshot, limits.settings(place))
    block = place.kind == "block"
    infill = replace(base, sampling=replace(base.sampling, logprobs=0))
    chunks = _chunks(place, f"{base.prompt}{base.suffix}", limits.context_chars)
    return GainQuestion(
        place,
        prefix=replace(base, suffix=None, stop_rule=StopRule() if block else LINE),
        infill=replace(infill, stop_rule=StopRule()) if block else infill,
        context=replace(base, context=chunks) if chunks else None,
    )


class AnswerSource:
    """Asks ``engine`` what the journal does not have. ``identity`` names the model in it."""

    def __init__(self, engine: Completer, journal: AnswerJournal, identity: str) -> None:
        self._engine, self._journal, self._identity = engine, journal, identity

    def known(self, question: GainQuestion) -> bool:
        """Whether all of its answers are there."""
        return all(self._journal.recall(self._key(request), 1) for _, request in _requests(question))

    async def ask(self, question: GainQuestion) -> AnsweredQuestion:
        """All of its answers. Raises ``EngineError``."""
        found: dict[str, GainAnswer] = {}
        for name, request in _requests(question):
            found[name] = await self._answer(request, f"{name} {question.place.kind} {question.place.name}")
        return AnsweredQuestion(question, **found)

    async def _answer(self, request: CompletionRequest, name: str) -> GainAnswer:
        key = self._key(request)
        rows = self._journal.recall(key, 1)
        if rows is None:
            rows = [(await _ask(self._engine, request)).to_json()]
            self._journal.keep(key, rows, [name])
        return GainAnswer.from_json(rows[0])

    def _key(self, request: CompletionRequest) -> str:
        return key_of(self._identity, request.to_json() | {"session": ""})


def _requests(question: GainQuestion) -> list[tuple[str, CompletionRequest]]:
    """The one with context comes right after the one without: in SPM both begin with the suffix, which is read once."""
    asked = [("prefix", question.prefix), ("infill", question.infill)]
    return [*asked, ("context", question.context)] if question.context else asked


def _chunks(place: GainHole, window: str, limit: int) -> tuple[Snippet, ...]:
    """Of what the document imports and of itself, as if it alone were open, and nobody had been anywhere before."""
    if not limit:
        return ()
    root, snapshot = place.project, place.snapshot
    here = OpenFile(snapshot.uri, root / place.name, snapshot.language, snapshot.before + snapshot.after)
    context = Context(lambda path: _may_read(path, root), clock=lambda: 0.0)  # no source is ever late
    return context.snippets(snapshot, window, [here], root, limit)


def _may_read(path: Path, root: Path) -> bool:
    return privacy(path, [root]) is None


async def _ask(engine: Completer, request: CompletionRequest) -> GainAnswer:
    text, tokens = "", []
    async with aclosing(engine.complete(request)) as events:
        async for event in events:
            if isinstance(event, TextChunk):
                text += event.text
                tokens += event.tokens
            elif isinstance(event, Finished):
                outcome = event.outcome
                return GainAnswer(text, outcome.cause, tuple(tokens), outcome.prompt_tokens, outcome.completion_tokens)
    raise EngineUnavailable("The engine broke off its answer.")
