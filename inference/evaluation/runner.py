"""Puts every question to a model in every layout, batch by batch, through the journal.

Batches are made of all questions before anything is asked, so that a run that goes on after a kill makes the same ones.
Knows no files of questions and no tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from inference.evaluation.answer_journal import AnswerJournal, Rows, key_of
from inference.evaluation.batch_generation import BatchRequest, Generator
from inference.evaluation.hole_prompts import HolePrompt, Layout, ask
from inference.evaluation.scoring import Result, judged
from inference.system.progress import OnProgress
from inference.text.prompts import Prompt
from inference.text.stopping import StopRule
from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import Vocabulary

AT_ONCE = 16
"""Questions in a batch."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question in one layout, and where it stands in the order of results."""

    place: int
    question: HolePrompt
    layout: Layout
    prompt: Prompt

    @property
    def name(self) -> str:
        """For a person who reads the journal."""
        return f"{self.layout} {self.question.group} {self.question.name}"

    @property
    def request(self) -> BatchRequest:
        """Layouts that infill are left to end by themselves; a prefix alone gives no reason to."""
        rule = self.question.rule if self.layout == "prefix" else StopRule()
        return BatchRequest(self.prompt, rule, self.question.most_tokens, judged(self.question))

    @property
    def decisive(self) -> list[Any]:
        """All that decides the answer and the likelihood, as JSON values."""
        request, prompt = self.request, self.prompt
        return [prompt.ids, prompt.heal, sorted(prompt.stop_ids), asdict(request.rule), request.room, request.middle]


class EvaluationRunner:
    """A model that is being evaluated; ``load`` is called once it is needed, ``identity`` names it in the journal."""

    def __init__(self, load: Callable[[], Any], tokenizer: Tokenizer, identity: str, journal: AnswerJournal) -> None:
        self._load = load
        self._tokenizer = tokenizer
        self._vocabulary = Vocabulary(tokenizer)
        self._identity = identity
        self._journal = journal

    @cached_property
    def _generator(self) -> Generator:
        return Generator(self._load(), self._tokenizer, self._vocabulary)

    def results(
        self, questions: Sequence[HolePrompt], layouts: Sequence[Layout], context: int, tell: OnProgress
    ) -> list[Result]:
        """One result for each question in each layout, questions of a layout in their order.

        The model is shown ``context`` tokens of text. ``tell`` counts answers. Raises PromptError.
        """
        asked = self._asked(questions, layouts, context)
        rows: Rows = [{} for _ in asked]
        done = 0
        for batch in _batches(asked):
            for one, row in zip(batch, self._answers(batch), strict=True):
                rows[one.place] = row
            done += len(batch)
            tell(done, len(asked))
        return [
            Result(one.question, one.layout, row["text"], row["ended"], row["tokens"], row["nats"], row["nats_tokens"])
            for one, row in zip(asked, rows, strict=True)
        ]

    def _asked(self, questions: Sequence[HolePrompt], layouts: Sequence[Layout], context: int) -> list[_Asked]:
        pairs: list[tuple[Layout, HolePrompt]] = [(layout, question) for layout in layouts for question in questions]
        return [
            _Asked(n, question, layout, ask(self._tokenizer, self._vocabulary, question, layout, context))
            for n, (layout, question) in enumerate(pairs)
        ]

    def _answers(self, batch: Sequence[_Asked]) -> Rows:
        key = key_of(self._identity, [one.decisive for one in batch])
        found = self._journal.recall(key, len(batch))
        if found is None:
            found = [asdict(answer) for answer in self._generator.answer([one.request for one in batch])]
            self._journal.keep(key, found, [one.name for one in batch])
        return found


def _batches(asked: Sequence[_Asked]) -> Iterator[list[_Asked]]:
    """Questions whose answers and prompts are of like length, together."""
    ordered = sorted(asked, key=lambda one: (_kind(one), len(one.prompt.ids), one.place))
    for _, group in groupby(ordered, _kind):
        alike = list(group)
        for start in range(0, len(alike), AT_ONCE):
            yield alike[start : start + AT_ONCE]


def _kind(one: _Asked) -> tuple[int, str]:
    return one.question.most_tokens, one.layout
