"""Generation for an evaluation: every hole in every layout, batch by batch, through the journal.

All batches are formed before the first one runs, so that a resumed run forms the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from inference.evaluation.batch_generation import BatchGenerator, BatchRequest
from inference.evaluation.batch_journal import BatchJournal, Rows, key_of
from inference.evaluation.hole_prompts import PromptLayout, build_prompt
from inference.evaluation.hole_sources import EvaluatedHole
from inference.evaluation.scoring import Result, scored_middle
from inference.system.terminal import OnProgress
from inference.text.prompts import Prompt
from inference.text.stopping import StopRule
from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import Vocabulary

BATCH_SIZE = 16


@dataclass(frozen=True, slots=True)
class _Item:
    """A hole in one layout, and its index in the list of results."""

    index: int
    case: EvaluatedHole
    layout: PromptLayout
    prompt: Prompt

    @property
    def name(self) -> str:
        """The label in the journal."""
        return f"{self.layout} {self.case.group} {self.case.hole.name}"

    @property
    def request(self) -> BatchRequest:
        """Infilling models end by themselves; after a prefix alone they don't, so the stop rule applies."""
        rule = self.case.rule if self.layout == "prefix" else StopRule()
        return BatchRequest(self.prompt, rule, self.case.max_tokens, scored_middle(self.case))

    @property
    def key_values(self) -> list[Any]:
        """Everything that decides the completion and the likelihood, as JSON values."""
        request, prompt = self.request, self.prompt
        stop_ids = sorted(prompt.stop_ids)
        return [prompt.ids, prompt.heal, stop_ids, asdict(request.rule), request.token_limit, request.middle]


class EvaluationRunner:
    """Completes holes with one model. ``load`` is called on first use; ``identity`` is part of the journal's keys."""

    def __init__(self, load: Callable[[], Any], tokenizer: Tokenizer, identity: str, journal: BatchJournal) -> None:
        self._load = load
        self._tokenizer = tokenizer
        self._vocabulary = Vocabulary(tokenizer)
        self._identity = identity
        self._journal = journal

    @cached_property
    def _generator(self) -> BatchGenerator:
        return BatchGenerator(self._load(), self._tokenizer, self._vocabulary)

    def results(
        self, cases: Sequence[EvaluatedHole], layouts: Sequence[PromptLayout], context: int, on_progress: OnProgress
    ) -> list[Result]:
        """Return one result for each hole in each layout, layout by layout, holes in their order.

        Prompts hold at most ``context`` tokens of text. ``on_progress`` counts completions. Raises PromptError.
        """
        items = self._items(cases, layouts, context)
        rows: Rows = [{} for _ in items]
        done = 0
        for batch in _batches(items):
            for item, row in zip(batch, self._rows(batch), strict=True):
                rows[item.index] = row
            done += len(batch)
            on_progress(done, len(items))
        return [
            Result(item.case, item.layout, row["text"], row["ended"], row["tokens"], row["nats"], row["nats_tokens"])
            for item, row in zip(items, rows, strict=True)
        ]

    def _items(self, cases: Sequence[EvaluatedHole], layouts: Sequence[PromptLayout], context: int) -> list[_Item]:
        pairs: list[tuple[PromptLayout, EvaluatedHole]] = [(layout, case) for layout in layouts for case in cases]
        return [
            _Item(n, case, layout, build_prompt(self._tokenizer, self._vocabulary, case.hole, layout, context))
            for n, (layout, case) in enumerate(pairs)
        ]

    def _rows(self, batch: Sequence[_Item]) -> Rows:
        key = key_of(self._identity, [item.key_values for item in batch])
        rows = self._journal.recall(key, len(batch))
        if rows is None:
            rows = [asdict(one) for one in self._generator.complete([item.request for item in batch])]
            self._journal.keep(key, rows, [item.name for item in batch])
        return rows


def _batches(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    """Group holes with the same limit and layout, and prompts of similar length, to save padding."""
    ordered = sorted(items, key=lambda item: (_group(item), len(item.prompt.ids), item.index))
    for _, group in groupby(ordered, _group):
        alike = list(group)
        for start in range(0, len(alike), BATCH_SIZE):
            yield alike[start : start + BATCH_SIZE]


def _group(item: _Item) -> tuple[int, str]:
    return item.case.max_tokens, item.layout
