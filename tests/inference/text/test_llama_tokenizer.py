"""CodeLlamaTokenizer: ids from independent sources, and text that never becomes a control token."""

from __future__ import annotations

import json
import random
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.vocabulary import llama_cpp_vectors

from inference.text.llama_tokenizer import CodeLlamaTokenizer
from inference.text.tokenizer import decode

PLAIN = {  # huggingface/transformers, tests/models/code_llama/test_tokenization_code_llama.py, without their BOS
    "This is a test": "910 338 263 1243",
    "": "",
    " ": "259",
    "  ": "1678",
    " Hello": "29871 15043",
    "Hi  Hello": "6324 29871 15043",
    "Hi   Hello": "6324 259 15043",
    "生活的真谛是": "29871 30486 31704 30210 30848 235 179 158 30392",
    "    Hello\n    Hello": "268 15043 13 1678 15043",
}


@pytest.mark.parametrize("text", PLAIN)
def test_plain_text_has_the_published_ids(codellama: CodeLlamaTokenizer, text: str) -> None:
    """Other tokenizers of this vocabulary get leading spaces and merges by score wrong."""
    assert codellama.encode(text) == [int(i) for i in PLAIN[text].split()]


def test_ids_equal_llama_cpp_vectors(codellama: CodeLlamaTokenizer, llama2: CodeLlamaTokenizer) -> None:
    """46 texts of llama.cpp's test suite: emoji, other scripts, unusual blanks, digits."""
    vectors = llama_cpp_vectors()
    assert len(vectors) == 46
    assert [(text, codellama.encode(text)) for text, _ in vectors] == vectors
    assert [(text, llama2.encode(text)) for text, _ in vectors] == vectors


@pytest.mark.parametrize(
    ("text", "ids"),
    [("\n    return result\n", [13, 1678, 736, 1121, 13]), ("():\n", [7295, 13]), ("bar", [1646]), ("", [])],
)
def test_continuation_has_no_implicit_space(codellama: CodeLlamaTokenizer, text: str, ids: list[int]) -> None:
    """The golden suffixes of infilling."""
    assert codellama.encode_continuation(text) == ids


def test_decode_keeps_all_leading_spaces(codellama: CodeLlamaTokenizer) -> None:
    """SentencePiece's own decoder drops one, which breaks indentation."""
    assert decode(codellama, [1678, 736, 921]) == "    return x"


def test_piece_bytes_of_text_and_control_tokens(codellama: CodeLlamaTokenizer) -> None:
    """A part of a sentinel is text; a whole sentinel has no bytes."""
    pieces = {1: b"", 2: b"", 0: b"", 3: b"\0", 13: b"\n", 258: b"\xff", 736: b" return", 30486: "生".encode()}
    pieces |= {32005: b" <E", 32007: b"", 32008: b"", 32009: b"", 32010: b"", 32015: b"", 32016: b"", 99999: b""}
    assert {i: codellama.piece_bytes(i) for i in pieces} == pieces


def test_control_tokens_are_found_by_name(codellama: CodeLlamaTokenizer, llama2: CodeLlamaTokenizer) -> None:
    """CodeLlama-34b and the Python models have no sentinels."""
    names = ["<s>", "</s>", "▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>", "<step>", "▁<E", "def"]
    assert [codellama.control_id(n) for n in names] == [1, 2, 32007, 32008, 32009, 32010, None, None, None]
    assert [llama2.control_id(n) for n in names] == [1, 2, *[None] * 7]
    assert (codellama.vocab_size, codellama.bos_id, codellama.eos_ids) == (32016, 1, {2})
    assert llama2.vocab_size == 32000


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a <EOT> b", [263, 529, 29923, 2891, 29958, 289]),  # the published file alone gives 263 32010 289
        ("</s>", [1533, 29879, 29958]),
        ("[INST]", [518, 25580, 29962]),
        ("class A <E>", [770, 319, 529, 29923, 29958]),
    ],
)
def test_markers_in_text_stay_text(codellama: CodeLlamaTokenizer, text: str, ids: list[int]) -> None:
    """A file that mentions a sentinel must not end the infilling."""
    assert codellama.encode(text) == ids


MARKERS = ["<PRE>", "<SUF>", "<MID>", "<EOT>", "<step>", "<s>", "</s>", "<unk>", "<0x0A>", "<E", " ", "▁", "\n", "☺"]
TEXT = st.lists(st.sampled_from(MARKERS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)).map("".join)


@settings(max_examples=500, deadline=None)
@given(text=TEXT)
def test_any_text_round_trips_without_control_tokens(codellama: CodeLlamaTokenizer, text: str) -> None:
    """Except ``▁``, SentencePiece's symbol for a space, which decodes to a space."""
    ids = codellama.encode_continuation(text)
    assert all(3 <= i < 32000 for i in ids + codellama.encode(text))
    assert decode(codellama, ids) == text.replace("▁", " ")


def test_tokenizer_is_thread_safe(codellama: CodeLlamaTokenizer) -> None:
    random_ = random.Random(3)
    texts = ["".join(random_.choices("ab <>\n☺é生", k=random_.randrange(200))) for _ in range(200)]
    wanted = [(codellama.encode(text), codellama.encode_continuation(text)) for text in texts]
    wrong: list[str] = []

    def work(seed: int) -> None:
        for n in random.Random(seed).choices(range(len(texts)), k=1000):
            ids = codellama.encode(texts[n]), codellama.encode_continuation(texts[n])
            wrong.extend([texts[n]] if ids != wanted[n] else [])

    threads = [threading.Thread(target=work, args=[seed]) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("added_tokens.json", {"<step>": 32015}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"32015": {"content": "<step>", "special": True}}}),
        ("tokenizer.json", {"added_tokens": [{"id": 32015, "content": "<step>"}]}),
    ],
)
def test_step_token_is_read_from_any_of_the_70b_files(
    codellama_vocabulary: Path, tmp_path: Path, name: str, content: object
) -> None:
    """Conversions differ in the file that declares it."""
    shutil.copy(codellama_vocabulary / "tokenizer.model", tmp_path)
    (tmp_path / name).write_text(json.dumps(content))
    tokenizer = CodeLlamaTokenizer(tmp_path)
    assert tokenizer.control_id("<step>") == 32015
    assert tokenizer.vocab_size == 32016
    assert tokenizer.encode("<step>") == [529, 10568, 29958]


def test_added_tokens_beyond_the_embedding_are_ignored(llama2_vocabulary: Path, tmp_path: Path) -> None:
    """Some tools give CodeLlama-34b sentinels past its last row, on which the model would fail."""
    shutil.copy(llama2_vocabulary / "tokenizer.model", tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"▁<PRE>": 32001, "[PAD]": 32000}))
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 32001}))
    tokenizer = CodeLlamaTokenizer(tmp_path)
    assert tokenizer.control_id("▁<PRE>") is None
    assert (tokenizer.control_id("[PAD]"), tokenizer.piece_bytes(32000)) == (32000, b"")


def test_added_token_for_an_ordinary_piece_is_ignored(codellama_vocabulary: Path, tmp_path: Path) -> None:
    """Some converters list ordinary pieces as added tokens."""
    shutil.copy(codellama_vocabulary / "tokenizer.model", tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"return": 736}))
    tokenizer = CodeLlamaTokenizer(tmp_path)
    assert (tokenizer.piece_bytes(736), tokenizer.control_id("return")) == (b" return", None)
