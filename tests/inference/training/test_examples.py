"""What is trained is what will be asked: the prompt of inference with the answer after it, token for token."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inference.text.holes import Hole
from inference.text.infill import infill_prompt
from inference.text.llama_tokenizer import CodeLlamaTokenizer
from inference.text.source_files import SourceFile
from inference.text.tokenizer import Tokenizer, decode
from inference.text.vocabulary import END_OF_INFILL
from inference.training.examples import Batches, Example, make_example, window
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


def test_psm_is_the_prompt_the_middle_and_the_end(codellama: CodeLlamaTokenizer) -> None:
    """The middle has no implicit space (paper, section 2.3), and a word is cut where the cursor stands."""
    prompt = infill_prompt(codellama, HOLE.prefix, HOLE.suffix, 1000, "psm").ids
    example = make_example(codellama, HOLE, "psm")
    assert example.ids == [*prompt, *codellama.encode_continuation("ght):"), end(codellama)]
    assert example.middle == len(prompt)
    assert example.learnt == list(range(len(prompt), len(example.ids)))


def test_spm_encodes_prefix_and_middle_as_one_text(codellama: CodeLlamaTokenizer) -> None:
    """So no word is cut in two; the token that straddles the cursor is the first to be learnt."""
    whole = infill_prompt(codellama, "def area(width, height):", HOLE.suffix, 1000, "spm").ids
    example = make_example(codellama, HOLE, "spm")
    assert example.ids == [*whole, end(codellama)]
    answer = decode(codellama, example.ids[example.middle : -1])
    assert answer.endswith("ght):")
    assert len(answer) < len("height):") + 2
    assert not decode(codellama, example.ids[: example.middle]).endswith("hei")


def test_where_nothing_is_missing_only_the_end_is_learnt(codellama: CodeLlamaTokenizer) -> None:
    nothing = Hole("a.py", "line", "x = 1", "", "\ny = 2")
    for layout in ("psm", "spm"):
        example = make_example(codellama, nothing, layout)
        assert example.ids[example.middle :] == [end(codellama)]


def test_a_window_is_what_stands_next_to_the_hole(codellama: CodeLlamaTokenizer) -> None:
    hole = Hole("a.py", "line", "first line\nsecond line\n", "middle", "\nthird line\nfourth line\n")
    seen = window(codellama, hole, 3, 2)
    assert "first" not in seen.prefix
    assert hole.prefix.endswith(seen.prefix)
    assert hole.suffix.startswith(seen.suffix)
    assert "third" in seen.suffix
    assert "fourth" not in seen.suffix
    assert seen.middle == "middle"
    assert window(codellama, hole, 100, 100) == hole


def drawn(recipe: Recipe, tokenizer: Tokenizer, numbers: list[int]) -> list[list[Example]]:
    batches = Batches(FILES, tokenizer, recipe)
    return [batches[number] for number in numbers]


def test_a_batch_depends_on_its_number_alone(codellama: CodeLlamaTokenizer) -> None:
    """A resumed run must see what the killed one would have seen."""
    recipe = Recipe(batch=4, seed=3)
    in_order = drawn(recipe, codellama, [0, 1, 8, 9])
    assert drawn(recipe, codellama, [9, 8, 1, 0]) == in_order[::-1]
    assert drawn(Recipe(batch=4, seed=4), codellama, [0]) != in_order[:1]


@pytest.mark.parametrize("recipe", [USER, STARTER, STARTER_2, replace(STARTER_3, elsewhere=0)])
def test_examples_keep_the_recipes_bounds_and_learn_every_token_of_the_answer(
    recipe: Recipe, codellama: CodeLlamaTokenizer
) -> None:
    for batch in drawn(recipe, codellama, [0, 1, 2]):
        assert len(batch) == recipe.batch
        for example in batch:
            assert len(example.ids) <= recipe.longest + 8
            assert set(range(example.middle, len(example.ids))) <= set(example.learnt)
            assert example.learnt == sorted(example.learnt)
            assert example.ids[-1] == end(codellama)
            last = len(example.ids) - 1
            assert [place for place in example.learnt if place == last] == [last] * recipe.end
            assert len(set(example.learnt)) == len(example.learnt) - recipe.end + 1


def test_the_share_of_layouts_is_the_recipes(codellama: CodeLlamaTokenizer) -> None:
    for share in (0.0, 1.0):
        examples = drawn(Recipe(spm=share, batch=8), codellama, [0])[0]
        suffix_first = [example.ids[2] == codellama.control_id("▁<SUF>") for example in examples]
        assert suffix_first == [share == 1.0] * 8


def test_one_window_of_any_text_survives(codellama: CodeLlamaTokenizer) -> None:
    """A cut between the bytes of one character drops it and no other."""
    text = "😋é漢" * 30
    for count in range(1, 40):
        seen = window(codellama, Hole("a", "line", text, "x", text), count, count)
        assert text.endswith(seen.prefix)
        assert text.startswith(seen.suffix)
