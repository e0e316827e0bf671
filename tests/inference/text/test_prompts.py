"""Plain completion prompts: token healing and trimming to the budget."""

from __future__ import annotations

import pytest
from fakes.characters import CharacterTokenizer
from hypothesis import given
from hypothesis import strategies as st

from inference.text.llama_tokenizer import CodeLlamaTokenizer
from inference.text.prompts import completion_prompt, normalize_text, trim_start


def test_completion_starts_with_bos_and_stops_at_eos(codellama: CodeLlamaTokenizer) -> None:
    """The ids of the model card's example."""
    prompt = completion_prompt(codellama, "def fibonacci(", 100)
    assert prompt.ids == [1, 822, 18755, 265, 21566, 29898]
    assert (prompt.stop_ids, prompt.heal) == ({2}, "")


@pytest.mark.parametrize(
    ("prefix", "expected", "heal"),
    [
        ("a = ", "<s>a =", " "),
        ("if a:\r\n\t", "<s>if a:\n", "\t"),
        ("   ", "<s>   ", ""),
        ("", "<s>", ""),
    ],
)
def test_trailing_blanks_are_left_to_healing(prefix: str, expected: str, heal: str) -> None:
    """Vocabularies merge them with the next word. A prefix of blanks only is kept."""
    tokenizer = CharacterTokenizer()
    prompt = completion_prompt(tokenizer, prefix, 100)
    assert (tokenizer.show(prompt.ids), prompt.heal) == (expected, heal)


def test_long_prefix_loses_whole_blocks_at_its_start() -> None:
    """So that the next keystrokes reuse the KV cache."""
    tokenizer = CharacterTokenizer()
    text = "".join(chr(0x4E00 + n) for n in range(1000))
    kept = {budget: tokenizer.show(completion_prompt(tokenizer, text, budget).ids) for budget in (1001, 1000, 745, 744)}
    assert kept == {1001: f"<s>{text}", 1000: f"<s>{text[256:]}", 745: f"<s>{text[256:]}", 744: f"<s>{text[512:]}"}


@given(size=st.integers(0, 3000), budget=st.integers(0, 3000))
def test_trimming_keeps_the_end_within_the_budget(size: int, budget: int) -> None:
    ids = list(range(size))
    kept = trim_start(ids, budget)
    assert kept == ids[size - len(kept) :]
    assert len(kept) == min(size, budget) or budget - 256 < len(kept) <= budget


def test_prefix_of_blanks_is_trimmed_too() -> None:
    assert len(completion_prompt(CharacterTokenizer(), " " * 1000, 100).ids) == 100


def test_clean_normalizes_line_endings_and_surrogates() -> None:
    assert normalize_text("a\r\nb\rc\n\r\nd\x0c\u2028😀\ud83d") == "a\nb\nc\n\nd\x0c\u2028😀\ufffd"
