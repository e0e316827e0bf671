"""A scripted model, for tests of everything around models."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log as ln
from typing import Any

from inference.api.events import Finished, Outcome, RequestOptions, Sampling, Steps, TextChunk, TokenProbability
from inference.models.adapter_store import AdapterError
from inference.models.catalog import STARTER, Model, Role
from inference.text.prompts import PromptError


@dataclass
class ScriptedModel:
    """A model that generates ``pieces``, one a step; each piece is a token of probability 0.5.

    Attributes:
        pieces: the text of each step. "boom" raises.
        hold: wait for ``go`` before each piece but the first.
        answers: texts of the next chat responses, in order, one line a step; ``pieces`` when they are used up.
        by_seed: texts of completions with this sampling seed, as alternatives have one; else ``pieces``.
        chat_name: name of every chat in ``log``; its last message where empty.
        log: everything that happened, in order: ``begin NAME``, ``NAME: PIECE``, ``closed NAME``.
        asked: prompt or messages, suffix and sampling of every request.
        began: set by every request that begins; ``closed``: by every one that ends.
    """

    pieces: list[str] = field(default_factory=lambda: ["a", "b"])
    hold: bool = False
    go: threading.Event = field(default_factory=threading.Event)
    log: list[str] = field(default_factory=list)
    asked: list[tuple[Any, str | None, Any]] = field(default_factory=list)
    row: Model = STARTER
    contexts: Mapping[Role, int] = field(default_factory=lambda: {"completion": 8192, "chat": 4096})
    began: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)
    answers: list[str] = field(default_factory=list)
    by_seed: dict[int, str] = field(default_factory=dict)
    chat_name: str = ""

    @property
    def turns(self) -> list[list[tuple[str, str]]]:
        """Role and content of the messages of each chat request."""
        return [[(message.role, message.content) for message in messages] for messages, _, _ in self.asked]

    def complete(self, prompt, suffix, sampling: Sampling, rule, options: RequestOptions | None, context=()) -> Steps:
        """Generate a completion. The prompt "refuse" raises PromptError."""
        self.asked.append((prompt, suffix, sampling))
        if prompt == "refuse":
            raise PromptError("This cannot be put to the model.")
        pieces = [self.by_seed[sampling.seed]] if sampling.seed in self.by_seed else self.pieces
        return self._generate(str(prompt), [*_adapter(options), *pieces], sampling)

    def chat(self, messages, sampling: Sampling, options: RequestOptions | None) -> Steps:
        """Generate a chat response."""
        self.asked.append((messages, None, sampling))
        pieces = self.answers.pop(0).splitlines(keepends=True) if self.answers else self.pieces
        return self._generate(self.chat_name or messages[-1].content, [*_adapter(options), *pieces], sampling)

    def _generate(self, name: str, pieces: Sequence[str], sampling: Sampling) -> Steps:
        self.log.append(f"begin {name}")
        self.began.set()
        finished = False
        try:
            for n, piece in enumerate(pieces):
                if self.hold and n:
                    self.go.wait(10)
                if piece == "boom":
                    raise RuntimeError("a bug")
                self.log.append(f"{name}: {piece}")
                yield TextChunk(piece, _tokens(piece, sampling))
            finished = True
            yield Finished(Outcome("end", prompt_tokens=len(name), completion_tokens=len(pieces)))
        finally:
            if not finished:
                self.log.append(f"closed {name}")
            self.closed.set()


def _adapter(options: RequestOptions | None) -> list[str]:
    """Return the adapter's name as the first piece. An adapter called "broken" can't be read."""
    if options is None or options.adapter is None:
        return []
    if options.adapter.name == "broken":
        raise AdapterError("The adapter 'broken' can't be read.")
    return [f"<{options.adapter.name}>"]


def _tokens(piece: str, sampling: Sampling) -> tuple[TokenProbability, ...]:
    if sampling.logprobs is None:
        return ()
    likeliest = ((piece.encode(), ln(0.5)), (b"other", ln(0.25)))
    return (TokenProbability(piece.encode(), ln(0.5), likeliest[: sampling.logprobs]),)


def block(code: str, language: str = "python") -> str:
    """A chat response that is one Markdown code block."""
    return f"```{language}\n{code}\n```\n"
