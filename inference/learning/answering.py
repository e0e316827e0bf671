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

from inference.generation.healing import Vocabulary
from inference.learning.generating import Generator, Request
from inference.learning.journal import Journal, Rows, key_of
from inference.learning.judging import Judge
from inference.learning.questions import Layout, Question, ask
from inference.learning.results import Result, judged
from inference.models.progress import OnProgress
from inference.text.prompts import Prompt
from inference.text.stopping import StopRule
from inference.text.tokenizer import Tokenizer

AT_ONCE = 16
"""Questions in a batch. Larger ones would wait longer for the longest of their answers."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question in one layout, and where it stands in the order of results."""

    place: int
    question: Question
    layout: Layout
    prompt: Prompt

    @property
    def name(self) -> str:
        """For a person who reads the journal."""
        return f"{self.layout} {self.question.group} {self.question.name}"

    @property
    def request(self) -> Request:
        """Layouts that infill are left to end by themselves; a prefix alone gives no reason to."""
        rule = self.question.rule if self.layout == "prefix" else StopRule()
        return Request(self.prompt, rule, self.question.most_tokens)


class Answering:
    """A model that is being evaluated; ``load`` is called once it is needed, ``identity`` names it in the journal."""

    def __init__(self, load: Callable[[], Any], tokenizer: Tokenizer, identity: str, journal: Journal) -> None:
        self._load = load
        self._tokenizer = tokenizer
        self._identity = identity
        self._journal = journal

    @cached_property
    def _model(self) -> tuple[Generator, Judge]:
        model, vocabulary = self._load(), Vocabulary(self._tokenizer)
        return Generator(model, self._tokenizer, vocabulary), Judge(model, self._tokenizer, vocabulary)

    def results(
        self, questions: Sequence[Question], layouts: Sequence[Layout], context: int, tell: OnProgress
    ) -> list[Result]:
        """One result for each question in each layout, questions of a layout in their order.

        The model is shown ``context`` tokens of text. ``tell`` counts answers, and texts read.
        """
        asked = self._asked(questions, layouts, context)
        done = _Count(tell, 2 * len(asked))
        reads = self._all(asked, self._read, done)
        texts = self._all(asked, self._write, done)
        return [
            Result(
                one.question,
                one.layout,
                answer=text["text"],
                ended=text["ended"],
                tokens=text["tokens"],
                nats=read["nats"],
                nats_tokens=read["tokens"],
            )
            for one, text, read in zip(asked, texts, reads, strict=True)
        ]

    def _asked(self, questions: Sequence[Question], layouts: Sequence[Layout], context: int) -> list[_Asked]:
        pairs: list[tuple[Layout, Question]] = [(layout, question) for layout in layouts for question in questions]
        return [
            _Asked(n, question, layout, ask(self._tokenizer, question, layout, context))
            for n, (layout, question) in enumerate(pairs)
        ]

    def _all(self, asked: Sequence[_Asked], work: _Work, done: _Count) -> Rows:
        rows: Rows = [{} for _ in asked]
        for batch in _batches(asked):
            key = key_of(self._identity, work.__name__, [_decisive(one) for one in batch])
            found = self._journal.recall(key, len(batch))
            if found is None:
                found = work(batch)
                self._journal.keep(key, found, [one.name for one in batch])
            for one, row in zip(batch, found, strict=True):
                rows[one.place] = row
            done.add(len(batch))
        return rows

    def _write(self, batch: Sequence[_Asked]) -> Rows:
        return [asdict(answer) for answer in self._model[0].answer([one.request for one in batch])]

    def _read(self, batch: Sequence[_Asked]) -> Rows:
        return [asdict(found) for found in self._model[1].read([(one.prompt, judged(one.question)) for one in batch])]


_Work = Callable[[Sequence[_Asked]], Rows]


class _Count:
    """Adds up what is done."""

    def __init__(self, tell: OnProgress, total: int) -> None:
        self._tell, self._done, self._total = tell, 0, total

    def add(self, more: int) -> None:
        """So many more are done."""
        self._done += more
        self._tell(self._done, self._total)


def _decisive(one: _Asked) -> list[Any]:
    """All of a question that decides its answer or its likelihood."""
    prompt, rule = one.prompt, one.request.rule
    return [
        prompt.ids,
        prompt.heal,
        sorted(prompt.stop_ids),
        asdict(rule),
        one.request.most_tokens,
        one.question.middle,
    ]


def _batches(asked: Sequence[_Asked]) -> Iterator[list[_Asked]]:
    """Questions whose answers and prompts are of like length, together."""
    ordered = sorted(asked, key=lambda one: (_kind(one), len(one.prompt.ids), one.place))
    for _, group in groupby(ordered, _kind):
        alike = list(group)
        for start in range(0, len(alike), AT_ONCE):
            yield alike[start : start + AT_ONCE]


def _kind(one: _Asked) -> tuple[int, str]:
    return one.question.most_tokens, one.layout
