"""Training examples: holes as token ids, with cross-file context, and the positions to learn. Torch-free.

The ids of an example are the prompt that inference builds (``text.infill``), followed by the middle: the model is
trained on what it will see. Source: Code Llama paper, arXiv 2308.12950, section 2.3.
"""

from __future__ import annotations

import math
import random
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, islice, takewhile
from pathlib import PurePosixPath

from inference.text.holes import Hole, HoleKind, sample_hole
from inference.text.infill import Layout, infill_prompt
from inference.text.prompts import Snippet, as_comment
from inference.text.snippets import SourceSnippet, definitions, import_lines, rank_snippets, select_fitting, split_file
from inference.text.source_files import SourceFile
from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import END_OF_INFILL
from inference.training.recipe import Recipe

POOL = 8
"""Batches drawn together and sorted by length, to save padding."""
MAX_WEIGHT = 20_000
"""Characters from which on a larger file is not drawn more often."""

IMPORTED_FILES = 6
"""Most imported files to take definitions from."""
HELPFUL = 0.5
"""Share of the examples whose first snippet contains a missing name."""
PATH_PARTS = 3
"""Parts of a path to keep: packages lie deeper below the training root than files below a workspace."""

_UNLIMITED = 1 << 30
_NAME = re.compile(r"[^\W\d]\w{2,}")


@dataclass(frozen=True, slots=True)
class Example:
    """A sequence to train on.

    Attributes:
        ids: token ids of the whole sequence.
        middle: index of the first token that contains a part of the middle. All from there on complete the hole.
        learnt: indices of the tokens whose prediction counts; a repeated index counts repeatedly.
    """

    ids: list[int]
    middle: int
    learnt: list[int]


class Batches:
    """An endless sequence of batches. The number alone decides a batch, so a resumed run gets the same ones."""

    def __init__(self, files: Sequence[SourceFile], tokenizer: Tokenizer, recipe: Recipe) -> None:
        self._files, self._tokenizer, self._recipe = files, tokenizer, recipe
        self._weights = list(accumulate(min(len(file.text), MAX_WEIGHT) for file in files))
        self._cross_file = CrossFileContext(files) if recipe.cross_file else None
        self._pool: tuple[int, list[list[Example]]] = (-1, [])

    def __getitem__(self, number: int) -> list[Example]:
        pool, index = divmod(number, POOL)
        if self._pool[0] != pool:
            self._pool = pool, self._draw(pool)
        return self._pool[1][index]

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
        kinds: list[HoleKind] = list(recipe.kinds)
        file = self._files[bisect_right(self._weights, rng.randrange(self._weights[-1]))]
        hole = sample_hole(file, rng.choices(kinds, list(recipe.kinds.values()))[0], rng)
        if hole is None:
            return None
        if rng.random() < recipe.empty:
            hole = Hole(hole.name, hole.kind, hole.prefix + hole.middle, "", hole.suffix)
        length = round(math.exp(rng.uniform(math.log(recipe.shortest), math.log(recipe.longest))))
        layout: Layout = "spm" if rng.random() < recipe.spm else "psm"
        visible = random_window(self._tokenizer, hole, length, rng)
        example = make_example(self._tokenizer, visible, layout)
        if len(example.ids) > recipe.longest + 8:
            return None
        if self._cross_file and rng.random() < recipe.cross_file:
            window = f"{visible.prefix}\n{visible.suffix}"
            comments = self._cross_file.comments(hole, window, recipe.cross_file_characters, rng)
            example = make_example(self._tokenizer, replace(visible, prefix=comments + visible.prefix), layout)
        around = [i for i in range(1, example.middle) if rng.random() < recipe.context]
        ends = [len(example.ids) - 1] * (recipe.end - 1)
        return Example(example.ids, example.middle, [*around, *example.learnt, *ends])


class CrossFileContext:
    """Comments with code from the same and other files, in the form of an editor's requests.

    Snippets come from the document and from the files that its imports name, and are chosen as an editor's are
    (``text.snippets``). A small model that has never seen such comments does not use names from them. Therefore, in
    half of the examples, the first snippet contains a name that is missing, if there is one.
    """

    def __init__(self, files: Sequence[SourceFile]) -> None:
        self._files = {file.name: file for file in files}
        self._modules: dict[str, list[SourceFile]] = defaultdict(list)
        for file in files:
            path = PurePosixPath(file.name)
            self._modules[path.parent.name if path.stem in ("__init__", "index") else path.stem].append(file)

    def comments(self, hole: Hole, window: str, limit: int, rng: random.Random) -> str:
        """Return comments of about ``limit`` characters at most, with nothing that ``window`` already shows."""
        here = self._files[hole.name]
        document = f"{hole.prefix}\n{hole.suffix}"
        snippets = [*definitions(here.language, here.name, document), *split_file(here.name, document)]
        snippets += import_lines(here.language, here.name, document)
        for file in self._imported(here):
            snippets += _definitions(file)
        right = hole.suffix.partition("\n")[0]
        chosen = rank_snippets(hole.prefix, right, window, snippets, limit)
        missing = set(_NAME.findall(hole.middle)) - set(_NAME.findall(window))
        if missing and rng.random() < HELPFUL:
            helpful = [snippet for snippet in snippets if missing & set(_NAME.findall(snippet.text))]
            rng.shuffle(helpful)
            best = [SourceSnippet(snippet.path, snippet.text) for snippet in chosen]
            chosen = select_fitting([*helpful[:1], *best], window, limit)
        return "".join(as_comment(_shorten_path(snippet)) for snippet in reversed(chosen))

    def _imported(self, here: SourceFile) -> list[SourceFile]:
        """Return the files that the imports may mean; of those with the same name, the nearest one."""
        imported: dict[str, SourceFile] = {}
        text = "\n".join(line.text for line in import_lines(here.language, here.name, here.text))
        for name in dict.fromkeys(_NAME.findall(text)):
            candidates = self._modules.get(name, ())
            nearest = max(candidates, key=lambda file: _common_folders(file.name, here.name), default=here)
            if nearest is not here and _common_folders(nearest.name, here.name) >= min(2, here.name.count("/")):
                imported[nearest.name] = nearest
        return list(imported.values())[:IMPORTED_FILES]


@lru_cache(maxsize=2048)
def _definitions(file: SourceFile) -> list[SourceSnippet]:
    return definitions(file.language, file.name, file.text)


def _common_folders(one: str, other: str) -> int:
    """Count the leading folders that two paths have in common."""
    pairs = zip(PurePosixPath(one).parts[:-1], PurePosixPath(other).parts[:-1], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _shorten_path(snippet: Snippet) -> Snippet:
    return replace(snippet, path="/".join(PurePosixPath(snippet.path).parts[-PATH_PARTS:]))


def make_example(tokenizer: Tokenizer, hole: Hole, layout: Layout) -> Example:
    """Return the sequence of prompt, middle and end of infilling. Only middle and end are to be learnt.

    SPM encodes prefix and middle as one text, so no token is cut at the cursor; PSM encodes them separately.
    """
    end = tokenizer.control_id(END_OF_INFILL)
    before = hole.prefix + hole.middle if layout == "spm" else hole.prefix
    ids = infill_prompt(tokenizer, before, hole.suffix, _UNLIMITED, layout).ids
    if layout == "psm":
        middle = len(ids)
        ids = ids + tokenizer.encode_continuation(hole.middle)
    else:
        middle = len(ids) - _tokens_holding(tokenizer, ids, len(hole.middle.encode()))
    assert end is not None
    ids = [*ids, end]
    return Example(ids, middle, list(range(middle, len(ids))))


def random_window(tokenizer: Tokenizer, hole: Hole, length: int, rng: random.Random) -> Hole:
    """Return the hole in a window of about ``length`` tokens, of which 15 to 50 % are suffix (in 5 % none)."""
    room = length - len(tokenizer.encode_continuation(hole.middle)) - 4
    after = round(room * rng.uniform(0.15, 0.5)) if rng.random() < 0.95 else 0
    return cut_window(tokenizer, hole, max(room - after, 4), max(after, 0))


def cut_window(tokenizer: Tokenizer, hole: Hole, before: int, after: int) -> Hole:
    """Return the hole with at most ``before`` tokens of its prefix and ``after`` of its suffix."""
    prefix = _last(tokenizer, hole.prefix[-12 * before :], before) if before else ""
    suffix = _first(tokenizer, hole.suffix[: 12 * after], after) if after else ""
    return Hole(hole.name, hole.kind, prefix, hole.middle, suffix)


def _first(tokenizer: Tokenizer, text: str, count: int) -> str:
    ids = tokenizer.encode_continuation(text)
    return text if len(ids) <= count else _text(tokenizer, islice(ids, count))


def _last(tokenizer: Tokenizer, text: str, count: int) -> str:
    ids = tokenizer.encode_continuation(text)
    return text if len(ids) <= count else _text(tokenizer, ids[-count:])


def _text(tokenizer: Tokenizer, ids: Iterable[int]) -> str:
    """Decode tokens without the characters that a cut has split."""
    return b"".join(map(tokenizer.piece_bytes, ids)).decode(errors="ignore")


def _tokens_holding(tokenizer: Tokenizer, ids: Sequence[int], size: int) -> int:
    """Count the last tokens that together hold the last ``size`` bytes."""
    count = 0
    while size > 0:
        count += 1
        size -= len(tokenizer.piece_bytes(ids[-count]))
    return count
