"""Completion from a prefix: what is held out for healing, and what a budget leaves."""

from __future__ import annotations

import pytest
from fakes.characters import CharacterTokenizer
from hypothesis import given
from hypothesis import strategies as st

from inference.text.llama_tokenizer import CodeLlamaTokenizer
from inference.text.prompts import clean, completion_prompt, trim_start


def test_completion_begins_with_bos_and_ends_at_eos(codellama: CodeLlamaTokenizer) -> None:
    """The ids of the model card's own example."""
    prompt = completion_prompt(codellama, "def fibonacci(", 100)
    assert prompt.ids == [1, 822, 18755, 265, 21566, 29898]
    assert (prompt.stop_ids, prompt.heal) == ({2}, "")


@pytest.mark.parametrize(
    ("prefix", "shown", "heal"),
    [
        ("a = ", "<s>a =", " "),
        ("if a:\r\n\t", "<s>if a:\n", "\t"),
        ("   ", "<s>   ", ""),
        ("", "<s>", ""),
    ],
)
def test_trailing_blanks_are_left_to_healing(prefix: str, shown: str, heal: str) -> None:
    """Vocabularies join them with the next word; a prefix of blanks only has nothing to hold on to."""
    tokenizer = CharacterTokenizer()
    prompt = completion_prompt(tokenizer, prefix, 100)
    assert (tokenizer.show(prompt.ids), prompt.heal) == (shown, heal)


def test_a_long_prefix_loses_whole_blocks_of_its_start() -> None:
    """So that the next keystrokes find their prompt in the KV cache."""
    tokenizer = CharacterTokenizer()
    text = "".join(chr(0x4E00 + n) for n in range(1000))
    kept = {budget: tokenizer.show(completion_prompt(tokenizer, text, budget).ids) for budget in (1001, 1000, 745, 744)}
    assert kept == {1001: f"<s>{text}", 1000: f"<s>{text[256:]}", 745: f"<s>{text[256:]}", 744: f"<s>{text[512:]}"}


@given(size=st.integers(0, 3000), budget=st.integers(0, 3000))
def test_trimming_keeps_the_end_within_the_budget(size: int, budget: int) -> None:
    """Whatever is dropped, it is never the text before the cursor, and never more than a block too much."""
    ids = list(range(size))
    kept = trim_start(ids, budget)
    assert kept == ids[size - len(kept) :]
    assert len(kept) == min(size, budget) or budget - 256 < len(kept) <= budget


def test_blanks_alone_are_trimmed_too() -> None:
    """A file of blanks must not be the one prompt that overflows."""
    assert len(completion_prompt(CharacterTokenizer(), " " * 1000, 100).ids) == 100


def test_cleaning_leaves_line_feeds_and_whole_characters() -> None:
    """JSON can carry half an emoji; no vocabulary can encode one."""
    assert clean("a\r\nb\rc\n\r\nd\x0c\u2028😀\ud83d") == "a\nb\nc\n\nd\x0c\u2028😀\ufffd"
