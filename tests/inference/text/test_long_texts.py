"""Only the ends of long texts are encoded."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.characters import CHATML, CONTROL, CharacterTokenizer

from inference.text.chat_prompts import CHAT_PROMPTS
from inference.text.infill import CursorRequest, cursor_prompt
from inference.text.llama_tokenizer import CodeLlamaTokenizer
from inference.text.prompts import Message, Snippet
from inference.text.tokenizer import (
    CUT_BLOCK,
    MAX_CHARS_PER_TOKEN,
    ByteLevelTokenizer,
    Tokenizer,
    encode_end,
    encode_start,
)

HUGE = 7_500_000
ROOM = 2_000
WORDS = [
    "def ",
    "return ",
    "x",
    "  ",
    "\t",
    "12345",
    "===",
    "é",
    "漢字",
    "👍🏽",
    ")",
    '"',
    "_name",
    "if ",
    ".",
    "Größe",
]


class CountingTokenizer(CharacterTokenizer):
    """Count the characters to encode."""

    read = 0

    def encode(self, text: str) -> list[int]:
        self.read += len(text)
        return super().encode(text)


def random_text(seed: int, line_ends: list[str]) -> str:
    rng = random.Random(seed)
    return "".join(rng.choices([*WORDS, *line_ends], k=20_000))


@pytest.fixture(scope="session")
def starter(starter_folder: Path) -> ByteLevelTokenizer:
    return ByteLevelTokenizer(starter_folder)


def check_ends(tokenizer: Tokenizer, text: str) -> None:
    """Check that the returned tokens equal those of the whole text."""
    whole, continued = tokenizer.encode(text), tokenizer.encode_continuation(text)
    for tokens in (1, 300, 2_000):
        end, start = encode_end(tokenizer, text, tokens), encode_start(tokenizer, text, tokens)
        assert tokens < len(end) < len(whole)
        assert end == whole[-len(end) :]
        assert tokens < len(start) < len(continued)
        assert start == continued[: len(start)]


@pytest.mark.parametrize("line_ends", [["\n", "\n\n", "\n    "], []], ids=["lines", "one line"])
@pytest.mark.parametrize("seed", range(10))
def test_ends_equal_those_of_the_whole_text_llama(codellama: CodeLlamaTokenizer, seed, line_ends):
    check_ends(codellama, random_text(seed, line_ends))


@pytest.mark.starter
@pytest.mark.parametrize("line_ends", [["\n", "\n\n", "\n    "], []], ids=["lines", "one line"])
@pytest.mark.parametrize("seed", range(10))
def test_ends_equal_those_of_the_whole_text_byte_level(starter: ByteLevelTokenizer, seed, line_ends):
    check_ends(starter, random_text(seed, line_ends))


@pytest.mark.parametrize("size", [0, 1, 1_000, 8_000, 40_000])
def test_text_that_fits_is_encoded_whole(codellama: CodeLlamaTokenizer, size):
    """Also blanks, of which one token holds sixteen."""
    for text in (random_text(1, ["\n"])[:size], " " * size):
        whole, continued = codellama.encode(text), codellama.encode_continuation(text)
        assert encode_end(codellama, text, len(whole)) == whole
        assert encode_start(codellama, text, len(continued)) == continued


def test_cut_rarely_moves_while_typing():
    """Each move invalidates the KV cache."""
    text = "".join(random.Random(3).choices("ab \n", k=3 * CUT_BLOCK))
    tokenizer = CharacterTokenizer()
    begins = {
        tokenizer.show(encode_end(tokenizer, text[:n], 100)[:50]) for n in range(2 * CUT_BLOCK, 3 * CUT_BLOCK, 64)
    }
    assert len(begins) == 2


@pytest.mark.parametrize("layout", ["psm", "spm", None])
@pytest.mark.parametrize("text", ["x = 1\n" * (HUGE // 6), "x" * HUGE, "\n" * HUGE, "\r" * HUGE])
def test_huge_texts_around_a_cursor_are_not_encoded_whole(layout, text):
    tokenizer = CountingTokenizer()
    cursor = CursorRequest(text, text, [Snippet("a.py", text), Snippet("b.py", "y = 2\n" * 100)])
    prompt, _ = cursor_prompt(tokenizer, cursor, ROOM, layout)
    assert ROOM - 256 < len(prompt.ids) <= ROOM
    assert tokenizer.read < 200_000


MANY: dict[str, Callable[[], list[Message]]] = {
    "one": lambda: [Message("user", "x " * (HUGE // 2))],
    "system": lambda: [Message("system", "x " * (HUGE // 2)), *alternating(2_001, "y")],
    "long": lambda: alternating(201, "z " * (HUGE // 400)),
    "short": lambda: alternating(100_001, "y"),
}


def alternating(count: int, text: str) -> list[Message]:
    return [Message(("user", "assistant")[n % 2], text) for n in range(count)]


@pytest.mark.parametrize("name", MANY)
@pytest.mark.parametrize(("layout", "control"), [("llama", CONTROL), ("step", CONTROL), ("chatml", CHATML)])
def test_huge_conversations_are_not_encoded_whole(layout, control, name):
    tokenizer, messages = CountingTokenizer(control), MANY[name]()
    prompt = CHAT_PROMPTS[layout](tokenizer, messages, ROOM)
    assert ROOM // 4 < len(prompt.ids) <= ROOM
    assert prompt.dropped + 1 <= len(messages)
    assert tokenizer.read < 8 * ROOM * MAX_CHARS_PER_TOKEN
