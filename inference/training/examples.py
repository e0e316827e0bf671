"""What an example is told of other places, in front of its prefix, as an editor's requests are.

Torch-free; knows no weights. The pieces are those an editor's context comes from (``text.excerpts``), chosen as it does
(``text.relevance``), of the document itself and of the files that its imports name. A small model that has never seen
such comments takes no name from them. Of half the examples the first piece therefore is one that has a name which is
missing, as far as there is one: where to look is learnt from examples in which looking helps.

Holes as what a model is trained on: token ids, and which of them it is to learn.

Torch-free; knows no weights. Example ids are the prompt that inference builds (``text.infill``) with the answer after
it, so what is trained is what will be asked. Source: Code Llama paper, arXiv 2308.12950, section 2.3.
"""

from __future__ import annotations

import math
import random
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, islice, takewhile
from pathlib import PurePosixPath

from inference.text.holes import Hole, Kind, take_hole
from inference.text.infill import Layout, infill_prompt
from inference.text.prompts import Snippet, as_comment
from inference.text.snippets import SourceSnippet, choose, definitions, fitting, import_lines, portions
from inference.text.source_files import SourceFile
from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import END_OF_INFILL
from inference.training.recipe import Recipe

FILES = 6
"""Imported files that are looked into."""
HELPFUL = 0.5
"""Share of the examples whose first piece has a missing name."""
SHOWN_PARTS = 3
"""Of a path: packages lie deeper below the training's root than an editor's files below its workspace."""
_NAME = re.compile(r"[^\W\d]\w{2,}")


class CrossFileContext:
    """The files of a training, by the names that imports may call them."""

    def __init__(self, files: Sequence[SourceFile]) -> None:
        self._files = {file.name: file for file in files}
        self._called: dict[str, list[SourceFile]] = defaultdict(list)
        for file in files:
            path = PurePosixPath(file.name)
            self._called[path.parent.name if path.stem in ("__init__", "index") else path.stem].append(file)

    def told(self, hole: Hole, window: str, limit: int, rng: random.Random) -> str:
        """Comments of at most about ``limit`` characters; ``window`` is what the example shows anyway."""
        here = self._files[hole.name]
        document = f"{hole.prefix}\n{hole.suffix}"
        pieces = [*definitions(here.language, here.name, document), *portions(here.name, document)]
        pieces += import_lines(here.language, here.name, document)
        for file in self._imported(here):
            pieces += _definitions(file)
        right = hole.suffix.partition("\n")[0]
        chunks = choose(hole.prefix, right, window, pieces, limit)
        missing = set(_NAME.findall(hole.middle)) - set(_NAME.findall(window))
        if missing and rng.random() < HELPFUL:
            helpful = [piece for piece in pieces if missing & set(_NAME.findall(piece.text))]
            rng.shuffle(helpful)
            best = [SourceSnippet(chunk.path, chunk.text) for chunk in chunks]
            chunks = fitting([*helpful[:1], *best], window, limit)
        return "".join(as_comment(_shortly_named(chunk)) for chunk in reversed(chunks))

    def _imported(self, here: SourceFile) -> list[SourceFile]:
        """The files that the words of its imports may mean: of each name the one that lies nearest."""
        found: dict[str, SourceFile] = {}
        text = "\n".join(piece.text for piece in import_lines(here.language, here.name, here.text))
        for name in dict.fromkeys(_NAME.findall(text)):
            near = max(self._called.get(name, ()), key=lambda file: _common(file.name, here.name), default=here)
            if near is not here and _common(near.name, here.name) >= min(2, here.name.count("/")):
                found[near.name] = near
        return list(found.values())[:FILES]


@lru_cache(maxsize=2048)
def _definitions(file: SourceFile) -> list[SourceSnippet]:
    return definitions(file.language, file.name, file.text)


def _common(one: str, other: str) -> int:
    """How many folders two paths begin with alike."""
    pairs = zip(PurePosixPath(one).parts[:-1], PurePosixPath(other).parts[:-1], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _shortly_named(chunk: Snippet) -> Snippet:
    return replace(chunk, path="/".join(PurePosixPath(chunk.path).parts[-SHOWN_PARTS:]))


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
        self._elsewhere = CrossFileContext(files) if recipe.elsewhere else None
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
