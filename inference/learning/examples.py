"""Holes as what a model is trained on: token ids, and which of them it is to learn.

Torch-free; knows no weights. Example ids are the prompt that inference builds (``text.infill``) with the answer after
it, so what is trained is what will be asked. Source: Code Llama paper, arXiv 2308.12950, section 2.3.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice

from inference.learning.elsewhere import Elsewhere
from inference.learning.recipe import Recipe
from inference.text.holes import Hole, Kind, take_hole
from inference.text.infill import Layout, infill_prompt
from inference.text.pieces import END_OF_INFILL
from inference.text.source import SourceFile
from inference.text.tokenizer import Tokenizer

UNLIMITED = 1 << 30
POOL = 8
"""Batches drawn together and sorted by length, so that little of a batch is padding."""
LARGEST_WEIGHT = 20_000
"""Characters above which a larger file is not drawn more often."""


@dataclass(frozen=True, slots=True)
class Example:
    """Attributes:

    ids: the whole sequence.
    middle: index of the first token that holds anything of the middle; all from there on are the answer.
    learnt: indices of tokens whose prediction counts; one that stands there twice counts twice.
    """

    ids: list[int]
    middle: int
    learnt: list[int]


class Batches:
    """An endless sequence of batches: the same files, recipe and number give the same batch, whatever came before."""

    def __init__(self, files: Sequence[SourceFile], tokenizer: Tokenizer, recipe: Recipe) -> None:
        self._files, self._tokenizer, self._recipe = files, tokenizer, recipe
        self._weights = list(accumulate(min(len(file.text), LARGEST_WEIGHT) for file in files))
        self._elsewhere = Elsewhere(files) if recipe.elsewhere else None
        self._pool: tuple[int, list[list[Example]]] = (-1, [])

    def __getitem__(self, number: int) -> list[Example]:
        pool, place = divmod(number, POOL)
        if self._pool[0] != pool:
            self._pool = pool, self._draw(pool)
        return self._pool[1][place]

    def _draw(self, pool: int) -> list[list[Example]]:
        rng = random.Random(f"{self._recipe.seed}/{pool}")
        size = self._recipe.batch
        drawn: list[Example] = []
        while len(drawn) < POOL * size:
            example = self._example(rng)
            if example:
                drawn.append(example)
        drawn.sort(key=lambda example: len(example.ids))
        batches = [drawn[first : first + size] for first in range(0, len(drawn), size)]
        rng.shuffle(batches)
        return batches

    def _example(self, rng: random.Random) -> Example | None:
        recipe = self._recipe
        kinds: list[Kind] = list(recipe.kinds)
        file = self._files[bisect_right(self._weights, rng.randrange(self._weights[-1]))]
        hole = take_hole(file, rng.choices(kinds, list(recipe.kinds.values()))[0], rng)
        if hole is None:
            return None
        if rng.random() < recipe.nothing:
            hole = Hole(hole.name, hole.kind, hole.prefix + hole.middle, "", hole.suffix)
        length = round(math.exp(rng.uniform(math.log(recipe.shortest), math.log(recipe.longest))))
        layout: Layout = "spm" if rng.random() < recipe.spm else "psm"
        shown = cut(self._tokenizer, hole, length, rng)
        example = make_example(self._tokenizer, shown, layout)
        if len(example.ids) > recipe.longest + 8:
            return None
        if self._elsewhere and rng.random() < recipe.elsewhere:
            told = self._elsewhere.told(hole, f"{shown.prefix}\n{shown.suffix}", recipe.told, rng)
            example = make_example(self._tokenizer, replace(shown, prefix=told + shown.prefix), layout)
        around = [i for i in range(1, example.middle) if rng.random() < recipe.context]
        ends = [len(example.ids) - 1] * (recipe.end - 1)
        return Example(example.ids, example.middle, [*around, *example.learnt, *ends])


def make_example(tokenizer: Tokenizer, hole: Hole, layout: Layout) -> Example:
    """The sequence of a hole, its middle and the end of infilling after it; only the answer is learnt.

    SPM: prefix and middle are encoded as one text, so the model never meets a word cut in two there; PSM: apart.
    """
    end = tokenizer.control_id(END_OF_INFILL)
    before = hole.prefix + hole.middle if layout == "spm" else hole.prefix
    ids = infill_prompt(tokenizer, before, hole.suffix, UNLIMITED, layout).ids
    if layout == "psm":
        middle = len(ids)
        ids = ids + tokenizer.encode_continuation(hole.middle)
    else:
        middle = len(ids) - _tokens_holding(tokenizer, ids, len(hole.middle.encode()))
    assert end is not None
    ids = [*ids, end]
    return Example(ids, middle, list(range(middle, len(ids))))


def cut(tokenizer: Tokenizer, hole: Hole, length: int, rng: random.Random) -> Hole:
    """The hole in a window of about ``length`` tokens, of which a random quarter to half is the suffix."""
    room = length - len(tokenizer.encode_continuation(hole.middle)) - 4
    after = round(room * rng.uniform(0.15, 0.5)) if rng.random() < 0.95 else 0
    return window(tokenizer, hole, max(room - after, 4), max(after, 0))


def window(tokenizer: Tokenizer, hole: Hole, before: int, after: int) -> Hole:
    """The hole with at most ``before`` tokens of its prefix and ``after`` of its suffix."""
    prefix = _last(tokenizer, hole.prefix[-12 * before :], before) if before else ""
    suffix = _first(tokenizer, hole.suffix[: 12 * after], after) if after else ""
    return Hole(hole.name, hole.kind, prefix, hole.middle, suffix)


def _first(tokenizer: Tokenizer, text: str, count: int) -> str:
    ids = tokenizer.encode_continuation(text)
    return text if len(ids) <= count else _text(tokenizer, islice(ids, count))


def _last(tokenizer: Tokenizer, text: str, count: int) -> str:
    ids = tokenizer.encode_continuation(text)
    return text if len(ids) <= count else _text(tokenizer, ids[-count:])


def _text(tokenizer: Tokenizer, ids) -> str:
    """Characters that a cut splits are dropped."""
    return b"".join(map(tokenizer.piece_bytes, ids)).decode(errors="ignore")


def _tokens_holding(tokenizer: Tokenizer, ids: Sequence[int], size: int) -> int:
    """How many of the last tokens hold the last ``size`` bytes."""
    count = 0
    while size > 0:
        count += 1
        size -= len(tokenizer.piece_bytes(ids[-count]))
    return count
