"""Training recipes: all settings that decide an adapter, except its data and its base model. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from inference.text.holes import HoleKind
from inference.text.vocabulary import Layout

MAX_PASS_TOKENS = {"cuda": 32_768, "cpu": 2_048}
"""Most tokens per forward and backward pass, padding included, by device. A longer batch takes several passes.

Short passes suit a CPU's caches: 2 cores with AVX512_BF16 reach 575 tokens/s in passes of 1,600 tokens, and 420 in one
of 4,500.
"""
CHARACTERS_PER_TOKEN = 3
"""Approximate, for code."""

_JSON_NAMES = {"empty": "nothing", "cross_file": "elsewhere", "cross_file_characters": "told"}
"""Names in ``tuning.json`` that differ from the fields'."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of a training run.

    Attributes:
        rank: rank of the two matrices beside every linear layer (LoRA, arXiv 2106.09685).
        alpha: the adapter is scaled by ``alpha / rank``.
        learning_rate: the peak, reached after ``warm_up``; it then falls linearly to a tenth.
        warm_up: share of the steps.
        batch: examples per step.
        shortest, longest: bounds of an example in tokens. Lengths are drawn uniformly in their logarithm.
        spm: share of examples in suffix-prefix-middle order; the others are prefix-suffix-middle.
        kinds: relative frequency of each kind of hole.
        empty: share of empty holes, which teach the model to end at once if nothing is missing.
        context: share of the tokens around a hole that are learnt too, which teaches the code's style.
        end: weight of the end of a middle. It is one token of many, and the hardest to learn.
        cross_file: share of the examples with cross-file context before the prefix (see ``examples.CrossFileContext``).
        cross_file_characters: most characters of that context.
        seed: seed of every random choice.
    """

    rank: int = 32
    alpha: int = 32
    learning_rate: float = 5e-4
    warm_up: float = 0.03
    batch: int = 16
    shortest: int = 64
    longest: int = 320
    spm: float = 0.5
    kinds: Mapping[HoleKind, float] = field(
        default_factory=lambda: {"end": 0.35, "line": 0.3, "block": 0.25, "span": 0.1}
    )
    empty: float = 0.03
    context: float = 0.35
    end: int = 1
    cross_file: float = 0.0
    cross_file_characters: int = 450
    seed: int = 0

    @property
    def tokens_per_step(self) -> float:
        """The mean, from lengths that are uniform in their logarithm."""
        window = (self.longest - self.shortest) / math.log(self.longest / self.shortest)
        return self.batch * (window + self.cross_file * self.cross_file_characters / CHARACTERS_PER_TOKEN)

    def as_json(self) -> dict[str, Any]:
        return {_JSON_NAMES.get(name, name): value for name, value in asdict(self).items()}


USER = Recipe(rank=16, alpha=16, learning_rate=3e-4)
"""For a user's repository and a model that can infill: half PSM, half SPM, as in the paper (arXiv 2308.12950)."""

STARTER = Recipe(learning_rate=1e-3, batch=8, shortest=48, longest=288, spm=0.9)
"""For the starter, which has never infilled. A model this small learns SPM much sooner than PSM."""

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
"""For the starter's second training. The first adapter knows the format, but not where a hole ends."""

STARTER_3 = replace(
    STARTER_2,
    learning_rate=1e-3,
    batch=16,
    shortest=80,
    longest=336,
    spm=0.98,
    kinds={"end": 0.35, "line": 0.35, "block": 0.3},
    context=0.1,
    cross_file=0.5,
    seed=4,
)
"""For the starter's third training: windows of an editor's size, with cross-file context as in an editor's requests."""

USER_SPM = replace(
    USER, spm=STARTER_2.spm, kinds={"end": 0.35, "line": 0.4, "block": 0.25}, context=0.1, end=STARTER_2.end
)
"""For a user's repository and the starter, which knows only SPM.

It follows the starter's last training: no spans with arbitrary ends, little of the code around holes, double weight for
a hole's end. With the kinds, context and end of ``USER``, 20 minutes of training on a small repository made held-out
ends and lines less likely.
"""

RECIPES = {"user": USER, "user-spm": USER_SPM, "starter": STARTER, "starter-2": STARTER_2, "starter-3": STARTER_3}


def default_recipe(layout: Layout) -> str:
    """Return the recipe's name for a user's repository and a model that infills in ``layout``."""
    return "user-spm" if layout == "spm" else "user"
