"""Training examples equal the prompt of inference followed by the middle, token for token."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inference.text.holes import Hole
from inference.text.infill import infill_prompt
from inference.text.llama_tokenizer import CodeLlamaTokenizer
from inference.text.source_files import SourceFile
from inference.text.tokenizer import Tokenizer, decode
from inference.text.vocabulary import END_OF_INFILL
from inference.training.examples import Batches, Example, cut_window, make_example
from inference.training.recipe import STARTER, STARTER_2, STARTER_3, USER, Recipe

HOLE = Hole("a.py", "end", "def area(width, hei", "ght):", "\n    return width * height\n")
FILES = [
    SourceFile(f"f{n}.py", "python", f"def area_{n}(width):\n    size = width * {n}\n    return size\n\n" * 12)
    for n in range(5)
]


def end(tokenizer: Tokenizer) -> int:
    found = tokenizer.control_id(END_OF_INFILL)
    assert found is not None
    return found


def test_psm_is_prompt_middle_and_end(codellama: CodeLlamaTokenizer) -> None:
    """The middle has no implicit space (paper, section 2.3), and a word is cut at the cursor."""
    prompt = infill_prompt(codellama, HOLE.prefix, HOLE.suffix, 1000, "psm").ids
    example = make_example(codellama, HOLE, "psm")
    assert example.ids == [*prompt, *codellama.encode_continuation("ght):"), end(codellama)]
    assert example.middle == len(prompt)
    assert example.learnt == list(range(len(prompt), len(example.ids)))


def test_spm_encodes_prefix_and_middle_as_one_text(codellama: CodeLlamaTokenizer) -> None:
    """No word is cut in two; the token across the cursor is the first to be learnt."""
    whole = infill_prompt(codellama, "def area(width, height):", HOLE.suffix, 1000, "spm").ids
    example = make_example(codellama, HOLE, "spm")
    assert example.ids == [*whole, end(codellama)]
    learnt = decode(codellama, example.ids[example.middle : -1])
    assert learnt.endswith("ght):")
    assert len(learnt) < len("height):") + 2
    assert not decode(codellama, example.ids[: example.middle]).endswith("hei")


def test_empty_hole_learns_only_the_end(codellama: CodeLlamaTokenizer) -> None:
    empty = Hole("a.py", "line", "x = 1", "", "\ny = 2")
    for layout in ("psm", "spm"):
        example = make_example(codellama, empty, layout)
        assert example.ids[example.middle :] == [end(codellama)]


def test_window_is_the_text_next_to_the_hole(codellama: CodeLlamaTokenizer) -> None:
    hole = Hole("a.py", "line", "first line\nsecond line\n", "middle", "\nthird line\nfourth line\n")
    visible = cut_window(codellama, hole, 3, 2)
    assert "first" not in visible.prefix
    assert hole.prefix.endswith(visible.prefix)
    assert hole.suffix.startswith(visible.suffix)
    assert "third" in visible.suffix
    assert "fourth" not in visible.suffix
    assert visible.middle == "middle"
    assert cut_window(codellama, hole, 100, 100) == hole


def drawn(recipe: Recipe, tokenizer: Tokenizer, numbers: list[int]) -> list[list[Example]]:
    batches = Batches(FILES, tokenizer, recipe)
    return [batches[number] for number in numbers]


def test_number_alone_decides_a_batch(codellama: CodeLlamaTokenizer) -> None:
    """A resumed run must get the batches of the killed one."""
    recipe = Recipe(batch=4, seed=3)
    in_order = drawn(recipe, codellama, [0, 1, 8, 9])
    assert drawn(recipe, codellama, [9, 8, 1, 0]) == in_order[::-1]
    assert drawn(Recipe(batch=4, seed=4), codellama, [0]) != in_order[:1]


@pytest.mark.parametrize("recipe", [USER, STARTER, STARTER_2, replace(STARTER_3, cross_file=0)])
def test_examples_keep_bounds_and_learn_the_whole_middle(recipe: Recipe, codellama: CodeLlamaTokenizer) -> None:
    for batch in drawn(recipe, codellama, [0, 1, 2]):
        assert len(batch) == recipe.batch
        for example in batch:
            assert len(example.ids) <= recipe.longest + 8
            assert set(range(example.middle, len(example.ids))) <= set(example.learnt)
            assert example.learnt == sorted(example.learnt)
            assert example.ids[-1] == end(codellama)
            last = len(example.ids) - 1
            assert [index for index in example.learnt if index == last] == [last] * recipe.end
            assert len(set(example.learnt)) == len(example.learnt) - recipe.end + 1


def test_recipe_sets_the_share_of_layouts(codellama: CodeLlamaTokenizer) -> None:
    for share in (0.0, 1.0):
        examples = drawn(Recipe(spm=share, batch=8), codellama, [0])[0]
        suffix_first = [example.ids[2] == codellama.control_id("▁<SUF>") for example in examples]
        assert suffix_first == [share == 1.0] * 8


def test_window_drops_only_split_characters(codellama: CodeLlamaTokenizer) -> None:
    """A cut may fall between the bytes of one character."""
    text = "😋é漢" * 30
    for count in range(1, 40):
        visible = cut_window(codellama, Hole("a", "line", text, "x", text), count, count)
        assert text.endswith(visible.prefix)
        assert text.startswith(visible.suffix)
