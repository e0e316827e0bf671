"""Scores of one completion against the text that was taken out. Torch-free; trailing white space never counts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rapidfuzz.distance import Levenshtein

from inference.evaluation.hole_sources import EvaluatedHole

SCORED_CHARACTERS = 1000
"""The likelihood of a longer middle is read for this much of its beginning."""

Reference = Literal["canonical", "shuffled"]
"""Completions made without a model: the true middles, or those of other holes."""


def exact(completion: str, middle: str) -> bool:
    """Return True if the completion equals the missing text."""
    return completion.rstrip() == middle.rstrip()


def similarity(completion: str, middle: str) -> float:
    """Return the edit similarity, 0 to 1: 1 - (characters inserted, deleted or replaced) / (longer length)."""
    return Levenshtein.normalized_similarity(completion.rstrip(), middle.rstrip())


def first_line(completion: str, middle: str) -> bool:
    """Return True if the first lines are equal."""
    return _first(completion) == _first(middle)


def _first(text: str) -> str:
    return text.split("\n", 1)[0].rstrip()


@dataclass(frozen=True, slots=True)
class Result:
    """The completion of one hole in one layout, and its measurements.

    Attributes:
        case: the hole.
        layout: the prompt's layout, or the name of the reference completions.
        completion: the model's text up to its end token or the stop rule.
        ended: the cause (see ``batch_generation.Ended``); None for a reference completion.
        tokens: generated tokens.
        nats: negative log-likelihood of the middle's beginning; None for a reference completion.
        nats_tokens: tokens of that beginning.
        passed: whether the task's tests pass; None if they were not run.
        passed_shown: the same for the displayed part of the completion.
    """

    case: EvaluatedHole
    layout: str
    completion: str
    ended: str | None = None
    tokens: int = 0
    nats: float | None = None
    nats_tokens: int = 0
    passed: bool | None = None
    passed_shown: bool | None = None

    @property
    def displayed(self) -> str:
        """The part of the completion that an editor would display."""
        return self.case.displayed(self.completion)

    @property
    def scored_bytes(self) -> int:
        """Size in bytes of the text that ``nats`` was read for."""
        return len(scored_middle(self.case).encode())


def scored_middle(case: EvaluatedHole) -> str:
    """Return the part of the middle whose likelihood is read."""
    return case.hole.middle[:SCORED_CHARACTERS]


def reference_results(cases: Sequence[EvaluatedHole], reference: Reference, seed: int) -> list[Result]:
    """Return results made without a model, to test the scoring itself.

    ``canonical`` completes each hole with its own middle and must score 100 %. ``shuffled`` uses the middle of another
    hole of the group and must score near 0.
    """
    completions = [case.hole.middle for case in cases]
    if reference == "shuffled":
        for group in dict.fromkeys(case.group for case in cases):
            indices = [n for n, case in enumerate(cases) if case.group == group]
            random.Random(seed).shuffle(indices)
            for index, other in zip(indices, indices[1:] + indices[:1], strict=True):
                completions[index] = cases[other].hole.middle
    return [Result(case, reference, completion) for case, completion in zip(cases, completions, strict=True)]
