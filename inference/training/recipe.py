"""How a model is taught: everything that decides what an adapter becomes, beside its data and its base. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from inference.text.holes import Kind
from inference.text.vocabulary import Layout

AT_ONCE = {"cuda": 32_768, "cpu": 2_048}
"""Tokens, padding included, that a pass forwards and back takes at most, by device; a longer batch is taken in several.

A CPU's caches like short ones: 2 cores with AVX512_BF16 did 575 tokens/s in passes of 1,600, and 420 in one of 4,500.
"""
CHARACTERS = 3
"""In a token of code, about."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Attributes:

    rank: of the adapter's two matrices beside every linear layer (LoRA, arXiv 2106.09685).
    alpha: the adapter is scaled by ``alpha / rank``.
    learning_rate: at its highest, after ``warm_up`` (a share of the steps); it then falls linearly to a tenth.
    batch: examples a step.
    shortest, longest: bounds of an example in tokens; lengths between are drawn evenly in their logarithm.
    spm: share of examples in suffix-prefix-middle order; the others are prefix-suffix-middle.
    kinds: how often each kind of hole is taken.
    nothing: share of holes with nothing in them: where nothing is missing the model is to say so.
    context: share of the tokens around a hole that are learnt too, which teaches the code's style.
    end: how many times the end of a middle counts: it is one token of many, and where to end is the hardest to learn.
    elsewhere: share of the examples that are told of other places in front of the prefix (``learning.elsewhere``),
        in at most ``told`` characters.
    seed: of every random choice.
    """

    rank: int = 32
    alpha: int = 32
    learning_rate: float = 5e-4
    warm_up: float = 0.03
    batch: int = 16
    shortest: int = 64
    longest: int = 320
    spm: float = 0.5
    kinds: Mapping[Kind, float] = field(default_factory=lambda: {"end": 0.35, "line": 0.3, "block": 0.25, "span": 0.1})
    nothing: float = 0.03
    context: float = 0.35
    end: int = 1
    elsewhere: float = 0.0
    told: int = 450
    seed: int = 0

    @property
    def tokens_per_step(self) -> float:
        """On average: lengths are even in their logarithm."""
        window = (self.longest - self.shortest) / math.log(self.longest / self.shortest)
        return self.batch * (window + self.elsewhere * self.told / CHARACTERS)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


USER = Recipe(rank=16, alpha=16, learning_rate=3e-4)
"""For a person's own repository, on a model that infills already: half PSM, half SPM, as in the paper."""

STARTER = Recipe(learning_rate=1e-3, batch=8, shortest=48, longest=288, spm=0.9)
"""For the starter, which has never infilled: a model this small learns SPM far sooner than PSM."""

STARTER_2 = replace(
    STARTER,
    shortest=40,
    longest=320,
    spm=0.95,
    kinds={"end": 0.3, "line": 0.35, "block": 0.3, "span": 0.05},
    context=0.25,
    end=2,
    seed=2,
)
"""For the starter's second training, from the adapter of the first, which knew the format but not where a hole ends."""

STARTER_3 = replace(
    STARTER_2,
    learning_rate=1e-3,
    batch=16,
    shortest=80,
    longest=336,
    spm=0.98,
    kinds={"end": 0.35, "line": 0.35, "block": 0.3},
    context=0.1,
    elsewhere=0.5,
    seed=4,
)
"""For the starter's third training: windows as an editor's are, and told of other places as its requests are."""

USER_SPM = replace(
    USER, spm=STARTER_2.spm, kinds={"end": 0.35, "line": 0.4, "block": 0.25}, context=0.1, end=STARTER_2.end
)
"""For a person's own repository, on the starter: suffix first, as it knows no other order.

As its own training ended: no spans that end anywhere, little of the code around holes, a hole's end counted twice.
With the kinds, context and end of ``USER``, 20 minutes on a small repository made held-out ends and lines less likely.
"""

RECIPES = {"user": USER, "user-spm": USER_SPM, "starter": STARTER, "starter-2": STARTER_2, "starter-3": STARTER_3}


def usual(layout: Layout) -> str:
    """The recipe for a person's own repository, on a model that infills in ``layout``."""
    return "user-spm" if layout == "spm" else "user"


def from_json(data: Mapping[str, Any]) -> Recipe:
    """The recipe that ``as_json`` wrote; what this version does not know of it is left out."""
    known = {one.name for one in fields(Recipe)}
    return Recipe(**{name: value for name, value in data.items() if name in known})
