"""A chat model that gives one scripted answer after the other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fakes.answerer import ScriptedAnswerer

from inference.api.events import Sampling, Steps


@dataclass
class ScriptedChatter(ScriptedAnswerer):
    """``answers`` in turn, each in lines; then ``pieces``. All logs are one.

    ``by_chance`` is what it completes with instead of ``pieces`` where it is given a seed, as for alternatives.
    """

    answers: list[str] = field(default_factory=list)
    by_chance: dict[int, str] = field(default_factory=dict)

    def complete(self, prompt, suffix, sampling: Sampling, rule, options, context=()) -> Steps:
        pieces = [self.by_chance[sampling.seed]] if sampling.seed in self.by_chance else self.pieces
        return ScriptedAnswerer.complete(replace(self, pieces=pieces), prompt, suffix, sampling, rule, options, context)

    def chat(self, messages, sampling: Sampling, options) -> Steps:
        self.asked.append((messages, None, sampling))
        pieces = self.answers.pop(0).splitlines(keepends=True) if self.answers else self.pieces
        return replace(self, pieces=pieces)._say("chat", sampling, options)

    @property
    def turns(self) -> list[list[tuple[str, str]]]:
        """Role and content of what each request held."""
        return [[(one.role, one.content) for one in messages] for messages, _, _ in self.asked]


def block(code: str, language: str = "python") -> str:
    """An answer that is nothing but code."""
    return f"```{language}\n{code}\n```\n"
