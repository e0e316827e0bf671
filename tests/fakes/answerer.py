"""A model that says what it is told to, step by step, for tests of everything around models."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log as ln
from typing import Any

from inference.api.events import Finished, Outcome, Sampling, Steps, TextChunk, TokenProbability
from inference.engine.request_options import RequestOptions
from inference.models.adapter_store import AdapterError
from inference.models.catalog import STARTER, Model, Role
from inference.text.prompts import PromptError


@dataclass
class ScriptedAnswerer:
    """Says ``pieces``, one a step. With ``hold`` set, it waits there for ``go`` before each piece but the first.

    ``log`` tells what it did, in order: what began, each step, what was closed; ``asked`` what with. Each piece is a
    token, half as likely as not.
    """

    pieces: list[str] = field(default_factory=lambda: ["a", "b"])
    hold: bool = False
    go: threading.Event = field(default_factory=threading.Event)
    log: list[str] = field(default_factory=list)
    asked: list[tuple[Any, str | None, Sampling]] = field(default_factory=list)
    row: Model = STARTER
    contexts: Mapping[Role, int] = field(default_factory=lambda: {"completion": 8192, "chat": 4096})
    began: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)

    def complete(self, prompt, suffix, sampling: Sampling, rule, options: RequestOptions | None, context=()) -> Steps:
        """Under an adapter it says the adapter's name first. One called "broken" can't be read."""
        self.asked.append((prompt, suffix, sampling))
        if prompt == "refuse":
            raise PromptError("This cannot be put to the model.")
        return self._say(str(prompt), sampling, options)

    def chat(self, messages, sampling: Sampling, options: RequestOptions | None) -> Steps:
        self.asked.append((messages, None, sampling))
        return self._say(messages[-1].content, sampling, options)

    def _pieces(self, options: RequestOptions | None) -> list[str]:
        if options is None or options.adapter is None:
            return self.pieces
        if options.adapter.name == "broken":
            raise AdapterError("The adapter 'broken' can't be read.")
        return [f"<{options.adapter.name}>", *self.pieces]

    def _say(self, name: str, sampling: Sampling | None, options: RequestOptions | None = None) -> Steps:
        pieces = self._pieces(options)
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


def _tokens(piece: str, sampling: Sampling | None) -> tuple[TokenProbability, ...]:
    if sampling is None or sampling.logprobs is None:
        return ()
    likeliest = ((piece.encode(), ln(0.5)), (b"other", ln(0.25)))
    return (TokenProbability(piece.encode(), ln(0.5), likeliest[: sampling.logprobs]),)
