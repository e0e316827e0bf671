"""Prompts at thousands of positions in real code, compared with independent encoders.

Two are SentencePiece with the original files of 32,000 and 32,016 pieces, called as in Meta's ``llama/generation.py``
and ``llama/tokenizer.py``; one is another project's implementation of the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor
from support.source_code import random_splits

from inference.text.chat_prompts import llama_prompt, step_prompt
from inference.text.infill import infill_prompt
from inference.text.llama_tokenizer import CodeLlamaTokenizer
from inference.text.prompts import Message
from inference.text.tokenizer import decode

Encode = Callable[[str], list[int]]

SPLITS = 3000
PLENTY = 100_000
FRAGMENT = re.compile(r"(?:^|[ ▁☺])<(?:SU|PRE|M|E)")
"""Text in which the 32,016 pieces differ from the 32,000: parts of sentinels, as in Java's ``public <E>``."""


@pytest.fixture(scope="module")
def raw_llama2(llama2_vocabulary: Path) -> Encode:
    return SentencePieceProcessor(model_file=str(llama2_vocabulary / "tokenizer.model")).encode


@pytest.fixture(scope="module")
def raw_codellama(codellama_vocabulary: Path) -> Encode:
    return SentencePieceProcessor(model_file=str(codellama_vocabulary / "tokenizer.model")).encode


@pytest.fixture(scope="module")
def splintr() -> Encode:
    module = pytest.importorskip("splintr", reason="splintr-rs is not installed (extra: test)")
    return module.Tokenizer.from_pretrained("codellama").encode_ordinary


def meta_infilling(encode: Encode, prefix: str, suffix: str, *, suffix_first: bool) -> list[int]:
    """Encode as Meta's ``infilling_prompt_tokens``: the suffix behind a smiley whose two tokens are then dropped."""
    after = encode("☺" + suffix)[2:]
    if suffix_first:
        return [1, 32007, 32008, *after, 32009, *encode(prefix)]
    return [1, 32007, *encode(prefix), 32008, *after, 32009]


def unix(text: str) -> str:
    return re.sub(r"\r\n?", "\n", text)


def dos(text: str) -> str:
    return text.replace("\n", "\r\n")


def differing(tokenizer: CodeLlamaTokenizer, encode: Encode, *, fragments: bool, seed: int) -> tuple[list[str], int]:
    """Return the prefixes of prompts that differ, and the number of prompts compared."""
    wrong: list[str] = []
    compared = 0
    for n, split in enumerate(random_splits(SPLITS, seed)):
        before, after = map(unix, split)
        prefix, suffix = split if n % 2 else (dos(before), dos(after))
        if not fragments and (FRAGMENT.search(before) or FRAGMENT.search("☺" + after)):
            continue
        compared += 1
        psm = infill_prompt(tokenizer, prefix, suffix, PLENTY).ids
        spm = infill_prompt(tokenizer, prefix, suffix, PLENTY, "spm").ids
        if psm != meta_infilling(encode, before, after, suffix_first=False):
            wrong.append(prefix)
        if spm != meta_infilling(encode, before, after, suffix_first=True):
            wrong.append(prefix)
    return wrong, compared


def test_infilling_equals_the_32000_trained_pieces(codellama: CodeLlamaTokenizer, raw_llama2: Encode) -> None:
    wrong, compared = differing(codellama, raw_llama2, fragments=True, seed=1)
    assert (wrong, compared) == ([], SPLITS)


def test_infilling_equals_metas_32016_pieces(codellama: CodeLlamaTokenizer, raw_codellama: Encode) -> None:
    """Except where text contains part of a sentinel."""
    wrong, compared = differing(codellama, raw_codellama, fragments=False, seed=2)
    assert (wrong, compared > SPLITS * 0.95) == ([], True)


def test_infilling_equals_another_implementation(codellama: CodeLlamaTokenizer, splintr: Encode) -> None:
    """splintr does not use SentencePiece."""
    wrong, compared = differing(codellama, splintr, fragments=False, seed=3)
    assert (wrong, compared > SPLITS * 0.95) == ([], True)


def test_real_code_round_trips(codellama: CodeLlamaTokenizer) -> None:
    texts = [split.suffix for split in random_splits(SPLITS, 4) if "▁" not in split.suffix]
    assert [text for text in texts if decode(codellama, codellama.encode_continuation(text)) != text] == []


def meta_inst_turns(encode: Encode, system: str, turns: list[str]) -> list[int]:
    """Encode as Meta's ``chat_completion`` for 7B to 34B."""
    turns = [f"<<SYS>>\n{system}\n<</SYS>>\n\n{turns[0]}", *turns[1:]]
    ids: list[int] = []
    for ask, answer in zip(turns[:-1:2], turns[1::2], strict=True):
        ids += [1, *encode(f"[INST] {ask.strip()} [/INST] {answer.strip()} "), 2]
    return [*ids, 1, *encode(f"[INST] {turns[-1].strip()} [/INST]")]


def meta_step_turns(encode: Encode, system: str, turns: list[str]) -> list[int]:
    """Encode as Meta's ``dialog_prompt_tokens`` for 70B."""
    ids = [1]
    for n, content in enumerate([system, *turns]):
        ids += encode(" Source: " + ("system" if n == 0 else "user" if n % 2 else "assistant"))
        if content:
            ids += encode("\n\n " + content.strip())
        ids.append(32015)
    return [*ids, *encode(" Source: assistant\nDestination: user"), *encode("\n\n ")]


def test_chat_about_real_code_equals_the_reference(
    codellama_vocabulary: Path, tmp_path: Path, raw_llama2: Encode
) -> None:
    (tmp_path / "tokenizer.model").write_bytes((codellama_vocabulary / "tokenizer.model").read_bytes())
    (tmp_path / "added_tokens.json").write_text('{"<step>": 32015}')
    tokenizer = CodeLlamaTokenizer(tmp_path)
    texts = [unix(text) for split in random_splits(600, 5, 300) for text in split]
    texts = [text for text in texts if not re.search(r"INST\]|SYS>>", text)]
    compared = 0
    for n in range(0, len(texts) - 4, 4):
        system, *turns = texts[n : n + 4]
        messages = [Message(role, text) for role, text in zip(ROLES, [system, *turns], strict=True)]
        assert llama_prompt(tokenizer, messages, PLENTY).ids == meta_inst_turns(raw_llama2, system, turns)
        assert step_prompt(tokenizer, messages, PLENTY).ids == meta_step_turns(raw_llama2, system, turns)
        compared += 1
    assert compared > 250


ROLES = ("system", "user", "assistant", "user")
