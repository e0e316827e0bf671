"""What an example is told of other places, in front of its prefix, as an editor's requests are.

Torch-free; knows no weights. The pieces are those an editor's context comes from (``text.excerpts``), chosen as it does
(``text.relevance``), of the document itself and of the files that its imports name. A small model that has never seen
such comments takes no name from them. Of half the examples the first piece therefore is one that has a name which is
missing, as far as there is one: where to look is learnt from examples in which looking helps.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import takewhile
from pathlib import PurePosixPath

from inference.text.context import ContextChunk, as_comment
from inference.text.excerpts import Piece, definitions, import_lines, portions
from inference.text.holes import Hole
from inference.text.relevance import choose, fitting
from inference.text.source import SourceFile

FILES = 6
"""Imported files that are looked into."""
HELPFUL = 0.5
"""Share of the examples whose first piece has a missing name."""
SHOWN_PARTS = 3
"""Of a path: packages lie deeper below the training's root than an editor's files below its workspace."""
_NAME = re.compile(r"[^\W\d]\w{2,}")


class Elsewhere:
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
            best = [Piece(chunk.path, chunk.text) for chunk in chunks]
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
def _definitions(file: SourceFile) -> list[Piece]:
    return definitions(file.language, file.name, file.text)


def _common(one: str, other: str) -> int:
    """How many folders two paths begin with alike."""
    pairs = zip(PurePosixPath(one).parts[:-1], PurePosixPath(other).parts[:-1], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _shortly_named(chunk: ContextChunk) -> ContextChunk:
    return replace(chunk, path="/".join(PurePosixPath(chunk.path).parts[-SHOWN_PARTS:]))
