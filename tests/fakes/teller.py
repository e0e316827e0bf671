"""A completer without an engine: it says what it was told to each kind of request, and knows what it was asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from math import log

from inference.api.errors import EngineUnavailable
from inference.api.events import Cause, Finished, Outcome, TextChunk, TokenProbability
from inference.api.requests import CompletionRequest


@dataclass
class Teller:
    """Each line is a token, half as likely as not; after ``patience`` answers it is gone.

    ``prefix``, ``infill`` and ``context`` are what it says without a suffix, with one, and with context.
    """

    prefix: str = ""
    infill: str = ""
    context: str = ""
    cause: Cause = "end"
    patience: int = 1_000
    asked: list[CompletionRequest] = field(default_factory=list)

    @property
    def prompts(self) -> list[str]:
        return [str(request.prompt) for request in self.asked]

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        if len(self.asked) == self.patience:
            raise EngineUnavailable("gone")
        self.asked.append(request)
        text = self.prefix if request.suffix is None else self.context if request.context else self.infill
        for line in text.splitlines(keepends=True):
            chances = (TokenProbability(line.encode(), log(0.5)),) if request.sampling.logprobs is not None else ()
            yield TextChunk(line, chances)
        yield Finished(Outcome(self.cause))
