"""Infilling prompts: golden vectors, trimming to the budget, token healing."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from fakes.characters import CharacterTokenizer
from fakes.longest_match import LongestMatchTokenizer
from hypothesis import given
from hypothesis import strategies as st

from inference.text.infill import Layout, infill_prompt
from inference.text.llama_tokenizer import CodeLlamaTokenizer
from inference.text.prompts import PromptError
from inference.text.tokenizer import ByteLevelTokenizer
from inference.text.vocabulary import Vocabulary

GOLDEN = [  # prefix, suffix, ids of the prefix, ids of the suffix; the first: ggml-org/llama.cpp, issue 3503
    (
        'def remove_non_ascii(s: str) -> str:\n    """ ',
        "\n    return result\n",
        "822 3349 29918 5464 29918 294 18869 29898 29879 29901 851 29897 1599 851 29901 13 1678 9995 29871",
        "13 1678 736 1121 13",
    ),
    ("def f(x):\n    ", "\n    return y\n", "822 285 29898 29916 1125 13 268", "13 1678 736 343 13"),
    ("def ", "():\n", "822 29871", "7295 13"),
    ("foo", "bar", "7953", "1646"),
    ("", "abc", "", "10736"),
    ("abc", "", "25638", ""),
    (
        "\tif a:\n\t\t",
        "\n\t\telse:\n",
        "29871 12 361 263 29901 13 12 12",
        "13 12 12 2870 29901 13",
    ),
]


@pytest.mark.parametrize(("prefix", "suffix", "before", "after"), GOLDEN)
def test_infilling_prompts_equal_the_reference(
    codellama: CodeLlamaTokenizer, prefix: str, suffix: str, before: str, after: str
) -> None:
    psm = infill_prompt(codellama, prefix, suffix, 4096)
    spm = infill_prompt(codellama, prefix, suffix, 4096, "spm")
    assert psm.ids == [int(i) for i in f"1 32007 {before} 32008 {after} 32009".split()]
    assert spm.ids == [int(i) for i in f"1 32007 32008 {after} 32009 {before}".split()]
    assert psm.stop_ids == spm.stop_ids == {2, 32010}


def test_vocabulary_without_sentinels_is_rejected(llama2: CodeLlamaTokenizer) -> None:
    """The ids are beyond the last embedding row of CodeLlama-34b and the Python models."""
    with pytest.raises(PromptError, match="no infilling sentinels"):
        infill_prompt(llama2, "a", "b", 100)


@pytest.mark.parametrize(
    ("prefix", "suffix", "expected"),
    [
        ("a\r\nb", "c\r\nd", "<s><PRE>a\nb<SUF>c\nd<MID>"),
        ("a\rb", "c\rd", "<s><PRE>a\nb<SUF>c\nd<MID>"),
        ("a\r", "\nb", "<s><PRE>a<SUF>\nb<MID>"),
        ("a\ud83d", "b", "<s><PRE>a\ufffd<SUF>b<MID>"),
    ],
)
def test_line_endings_and_surrogates_are_normalized(prefix: str, suffix: str, expected: str) -> None:
    """After a suffix in CRLF the model would write CRLF, which is rare in training."""
    tokenizer = CharacterTokenizer()
    assert tokenizer.show(infill_prompt(tokenizer, prefix, suffix, 100).ids) == expected


@pytest.mark.parametrize("layout", ["psm", "spm"])
@pytest.mark.parametrize(
    ("prefix", "suffix", "over", "kept"),
    [
        (1000, 500, 0, (1000, 500)),
        (1000, 900, 1, (1000, 768)),  # the suffix is cut first, in whole blocks, ...
        (1000, 500, 1, (1000, 374)),  # ... down to a quarter of the room; ...
        (1000, 200, 1, (744, 200)),  # ... then the prefix, in whole blocks
        (1200, 0, 1, (944, 0)),
        (100, 10, 1, (99, 10)),  # shorter than a block: only the excess
        (0, 700, 1, (0, 512)),
        (0, 3, 1, (0, 0)),
    ],
)
def test_text_is_dropped_at_the_far_ends(
    layout: Layout, prefix: int, suffix: int, over: int, kept: tuple[int, int]
) -> None:
    tokenizer = CharacterTokenizer()
    before = "".join(chr(0x4E00 + n) for n in range(prefix))
    after = "".join(chr(0xA000 + n) for n in range(suffix))
    prompt = infill_prompt(tokenizer, before, after, prefix + suffix + 4 - over, layout)
    left, right = before[prefix - kept[0] :], after[: kept[1]]
    wanted = f"<s><PRE>{left}<SUF>{right}<MID>" if layout == "psm" else f"<s><PRE><SUF>{right}<MID>{left}"
    assert tokenizer.show(prompt.ids) == wanted


@given(prefix=st.integers(0, 3000), suffix=st.integers(0, 3000), budget=st.integers(4, 3000), spm=st.booleans())
def test_prompt_never_exceeds_the_budget(prefix: int, suffix: int, budget: int, spm: bool) -> None:
    tokenizer = CharacterTokenizer()
    ids = infill_prompt(tokenizer, "p" * prefix, "s" * suffix, budget, "spm" if spm else "psm").ids
    assert len(ids) <= budget
    assert len(ids) == min(prefix + suffix + 4, budget) or len(ids) > budget - 2 * 256 - 1


def test_typing_at_the_limit_rarely_moves_the_start() -> None:
    """Each move costs a prefill of the whole prompt: three for 600 typed characters."""
    tokenizer = CharacterTokenizer()
    text = "".join(chr(0x4E00 + n) for n in range(2100))
    mark: dict[Layout, int | None] = {"psm": tokenizer.control_id("▁<SUF>"), "spm": None}
    for layout, stop in mark.items():
        prompts = [infill_prompt(tokenizer, text[:n], "s" * 800, 2004, layout).ids for n in range(1500, 2100)]
        reusable = [ids[: ids.index(stop)] if stop else ids for ids in prompts]
        moves = sum(new[: len(old)] != old for old, new in pairwise(reusable))
        assert moves == 3, layout


WORDS = ["    ", "\n    ", "\n   ", " return", " re", "ret", "ur", "return", "()", "é=", "🙂"]


@pytest.mark.parametrize(
    ("prefix", "held"),
    [
        ("x = re", " re"),  # half a word and the space before it
        ("x retur", " retur"),  # two tokens that one may replace
        ("f:\n    ", "\n    "),  # the last blank of an indentation merges with the next word
        ("f(", "("),  # might become "()"
        ("x = 1", "1"),
        ("xé", "é"),  # a character of two tokens is not split
        ("xur", "ur"),
        ("re", "re"),  # the whole prefix
        ("", ""),
    ],
)
def test_tokens_that_may_merge_are_left_to_healing(prefix: str, held: str) -> None:
    """SPM training never split a token at the end of the prefix: prefix and middle were one text."""
    tokenizer = LongestMatchTokenizer(WORDS)
    prompt = infill_prompt(tokenizer, prefix, "\n", 100, "spm", healed_with=Vocabulary(tokenizer))
    kept = prompt.ids[len(infill_prompt(tokenizer, "", "\n", 100, "spm").ids) :]
    assert prompt.heal == held
    assert b"".join(map(tokenizer.piece_bytes, kept)).decode() + held == prefix


@given(text=st.text("ab re\n(é🙂tu"), cut=st.integers(0, 20))
def test_healing_removes_whole_tokens_from_the_end(text: str, cut: int) -> None:
    tokenizer = LongestMatchTokenizer(WORDS)
    prefix, suffix = text[:cut], text[cut:]
    whole = infill_prompt(tokenizer, prefix, suffix, 1000, "spm")
    healed = infill_prompt(tokenizer, prefix, suffix, 1000, "spm", healed_with=Vocabulary(tokenizer))
    held = whole.ids[len(healed.ids) :]
    assert healed.ids + held == whole.ids
    assert b"".join(map(tokenizer.piece_bytes, held)) == healed.heal.encode()
    assert healed.stop_ids == whole.stop_ids
    psm = infill_prompt(tokenizer, prefix, suffix, 1000, "psm", healed_with=Vocabulary(tokenizer))
    assert psm == infill_prompt(tokenizer, prefix, suffix, 1000, "psm")


@pytest.mark.parametrize(("prefix", "held"), [("ret", ""), ("x ret", " ret"), ("x\n    ", "    ")])
def test_healing_keeps_the_implicit_first_space(codellama: CodeLlamaTokenizer, prefix: str, held: str) -> None:
    """It is not a byte of the text, so no token could agree with it."""
    assert infill_prompt(codellama, prefix, "", 100, "spm", healed_with=Vocabulary(codellama)).heal == held


@pytest.mark.starter
def test_healed_prompt_is_a_prefix_of_the_uncut_tokens(bare_starter_folder: Path) -> None:
    """At more than 99 % of positions in real code."""
    tokenizer = ByteLevelTokenizer(bare_starter_folder)
    vocabulary = Vocabulary(tokenizer)
    text = Path(json.decoder.__file__).read_text()[:4000]
    positions = range(100, len(text), 7)
    whole = infill_prompt(tokenizer, text, "", 1 << 20, "spm").ids
    same = 0
    for n in positions:
        healed = infill_prompt(tokenizer, text[:n], "", 1 << 20, "spm", healed_with=vocabulary)
        assert text[:n].endswith(healed.heal) and healed.heal
        same += whole[: len(healed.ids)] == healed.ids
    assert same > 0.99 * len(positions)
