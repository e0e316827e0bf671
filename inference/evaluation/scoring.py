"""How near an answer is to the text that was taken out. Pure; white space at the very end never counts.

One answer to one question, and what is known of it. Torch-free; the figures made of many are ``report``'s.
"""

from __future__ import annotations

from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from inference.evaluation.hole_prompts import HolePrompt


def exact(answer: str, middle: str) -> bool:
    """Whether the answer is the missing text."""
    return answer.rstrip() == middle.rstrip()


def similarity(answer: str, middle: str) -> float:
    """1 - (insertions, deletions and replacements of characters) / (length of the longer): 0 to 1."""
    return Levenshtein.normalized_similarity(answer.rstrip(), middle.rstrip())


def first_line(answer: str, middle: str) -> bool:
    """Whether the answer's first line is that of the missing text."""
    return _first(answer) == _first(middle)


def _first(text: str) -> str:
    return text.split("\n", 1)[0].rstrip()


JUDGED_CHARACTERS = 1000
"""Of a longer middle, the likelihood of its beginning is read."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one question gave in one layout.

    Attributes:
        question: what was asked.
        layout: how; or, where no model was asked, whose answer it is.
        answer: all that the model wrote before its end token, or up to where the stop rule ended it.
        ended: by what (see ``generating.Answer``), or None where no model was asked.
        tokens: how many it wrote.
        nats: the negative log-likelihood of the middle's beginning, or None where no model was asked.
        nats_tokens: the tokens of that beginning.
        passed: whether the answer passes the task's tests, or None where they were not run.
        passed_shown: the same of what an editor's user would have seen.
    """

    question: HolePrompt
    layout: str
    answer: str
    ended: str | None = None
    tokens: int = 0
    nats: float | None = None
    nats_tokens: int = 0
    passed: bool | None = None
    passed_shown: bool | None = None

    @property
    def shown(self) -> str:
        """What an editor's user would have seen."""
        return self.question.shown(self.answer)

    @property
    def judged_bytes(self) -> int:
        """The bytes of what ``nats`` is of."""
        return len(judged(self.question).encode())


def judged(question: HolePrompt) -> str:
    """The part of a middle whose likelihood is read."""
    return question.middle[:JUDGED_CHARACTERS]
