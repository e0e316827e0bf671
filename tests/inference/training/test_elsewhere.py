"""What an example is told of other places: of the same pieces, in the same form, as an editor's requests are."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.tiny_lesson import install_tiny

from inference.models import store
from inference.text.holes import Hole
from inference.text.source_files import SourceFile
from inference.text.tokenizer_loader import load_tokenizer
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


class Dice(random.Random):
    """Falls as the test says."""

    def __init__(self, value: float) -> None:
        super().__init__(0)
        self.value = value

    def random(self) -> float:
        return self.value


def test_a_missing_name_is_told_in_the_examples_that_are_to_show_its_use() -> None:
    """And of the nearest of the files that the import may mean."""
    told = CrossFileContext(FILES).told(hole("rectangle_area(2, 3)"), "x = 1\ncost = \ny = 2\n", 200, Dice(HELPFUL / 2))
    either = "main.py\n# from shop.shapes import rectangle_area\n", "shapes.py\n# def rectangle_area(width, height):\n"
    assert any(f"# Path: one/shop/{begin}" in told for begin in either)
    assert "two/" not in told


def test_the_others_are_told_what_speaks_of_the_lines_before_the_cursor() -> None:
    """As in an editor, which does not know what is missing."""
    asked = replace(hole("rectangle_area(2, 3)"), prefix="like = nothing\n", suffix="\n")
    told = CrossFileContext(FILES).told(asked, asked.prefix, 80, Dice(HELPFUL))
    assert told == "# Path: one/shop/shapes.py\n# def nothing_like_it():\n#     pass\n"
    told = CrossFileContext(FILES).told(asked, asked.prefix, 80, Dice(HELPFUL / 2))
    assert told == "# Path: one/shop/shapes.py\n# def rectangle_area(width, height):\n#     return width * height\n"


def test_there_is_room_for_so_much() -> None:
    assert CrossFileContext(FILES).told(hole("rectangle_area(2, 3)"), "", 20, Dice(0)) == ""


def test_the_recipe_says_how_many_examples_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In front of the prefix, which in suffix-first order stands after the middle's mark."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path))
    tokenizer = load_tokenizer(install_tiny())
    recipe = Recipe(batch=16, longest=80, spm=1.0, told=200)
    for share in (0.0, 0.5, 1.0):
        batches = Batches(FILES[:2], tokenizer, replace(recipe, elsewhere=share))
        texts = [
            b"".join(map(tokenizer.piece_bytes, e.ids)).decode(errors="replace") for n in range(4) for e in batches[n]
        ]
        told = sum("# Path: one/shop/" in text for text in texts) / len(texts)
        assert share * 0.4 <= told <= share
