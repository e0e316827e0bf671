"""Cross-file context of training examples: choice of snippets, limit, and share of examples."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.tiny_lesson import install_tiny

from inference.models import store
from inference.text.holes import Hole
from inference.text.llama_tokenizer import load_tokenizer
from inference.text.source_files import SourceFile
from inference.training.examples import HELPFUL, Batches, CrossFileContext
from inference.training.recipe import Recipe

SHAPES = "def rectangle_area(width, height):\n    return width * height\n\n\ndef nothing_like_it():\n    pass\n"
MAIN = "from shop.shapes import rectangle_area\n\n" + "x = 1\n" * 60 + "cost = rectangle_area(2, 3)\ny = 2\n"


def file(name: str, text: str) -> SourceFile:
    return SourceFile(name, "python", text)


FILES = [file("one/shop/main.py", MAIN), file("one/shop/shapes.py", SHAPES), file("two/shop/shapes.py", SHAPES * 2)]


def hole(middle: str) -> Hole:
    prefix, _, suffix = MAIN.partition(middle)
    return Hole("one/shop/main.py", "end", prefix, middle, suffix)


class FixedRandom(random.Random):
    """``random()`` always returns the same value."""

    def __init__(self, value: float) -> None:
        super().__init__(0)
        self.value = value

    def random(self) -> float:
        return self.value


def test_helpful_examples_define_a_missing_name() -> None:
    """The definition comes from the nearest file that the import may mean."""
    window, rng = "x = 1\ncost = \ny = 2\n", FixedRandom(HELPFUL / 2)
    comments = CrossFileContext(FILES).comments(hole("rectangle_area(2, 3)"), window, 200, rng)
    either = "main.py\n# from shop.shapes import rectangle_area\n", "shapes.py\n# def rectangle_area(width, height):\n"
    assert any(f"# Path: one/shop/{begin}" in comments for begin in either)
    assert "two/" not in comments


def test_other_examples_match_the_lines_before_the_cursor() -> None:
    """An editor does not know what is missing either."""
    nothing_like = replace(hole("rectangle_area(2, 3)"), prefix="like = nothing\n", suffix="\n")
    comments = CrossFileContext(FILES).comments(nothing_like, nothing_like.prefix, 80, FixedRandom(HELPFUL))
    assert comments == "# Path: one/shop/shapes.py\n# def nothing_like_it():\n#     pass\n"
    comments = CrossFileContext(FILES).comments(nothing_like, nothing_like.prefix, 80, FixedRandom(HELPFUL / 2))
    assert comments == "# Path: one/shop/shapes.py\n# def rectangle_area(width, height):\n#     return width * height\n"


def test_context_that_exceeds_the_limit_is_empty() -> None:
    assert CrossFileContext(FILES).comments(hole("rectangle_area(2, 3)"), "", 20, FixedRandom(0)) == ""


def test_recipe_sets_the_share_of_examples_with_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path))
    tokenizer = load_tokenizer(install_tiny())
    recipe = Recipe(batch=16, longest=80, spm=1.0, cross_file_characters=200)
    for share in (0.0, 0.5, 1.0):
        batches = Batches(FILES[:2], tokenizer, replace(recipe, cross_file=share))
        texts = [
            b"".join(map(tokenizer.piece_bytes, e.ids)).decode(errors="replace") for n in range(4) for e in batches[n]
        ]
        with_context = sum("# Path: one/shop/" in text for text in texts) / len(texts)
        assert share * 0.4 <= with_context <= share
