"""Choosing the tokenizer of a checkpoint folder, and its errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.vocabulary import APPENDED, llama2_pieces, llama_cpp_vectors, write_proto
from support.vocabulary_json import write_tokenizer_json
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

from inference.text.llama_tokenizer import ByteFallbackTokenizer, CodeLlamaTokenizer, load_tokenizer
from inference.text.tokenizer import ByteLevelTokenizer, TokenizerError, decode


@pytest.fixture(scope="module")
def json_only(codellama_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the 32,016 pieces in ``tokenizer.json`` only."""
    assert codellama_vocabulary
    folder = tmp_path_factory.mktemp("json")
    write_tokenizer_json(folder / "tokenizer.json", llama2_pieces() + APPENDED)
    return folder


def _byte_level(folder: Path) -> None:
    rust = RustTokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    rust.train_from_iterator(["a b"], trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    rust.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text('{"eos_token_id": 0}')


def test_tokenizer_model_is_preferred_over_json(codellama_vocabulary: Path, tmp_path: Path) -> None:
    """Some published ``tokenizer.json`` merge indentation wrongly."""
    shutil.copy(codellama_vocabulary / "tokenizer.model", tmp_path)
    _byte_level(tmp_path)
    (tmp_path / "config.json").write_text('{"vocab_size": 32016}')
    assert isinstance(load_tokenizer(tmp_path), CodeLlamaTokenizer)


def test_json_is_read_by_its_type(tmp_path: Path, json_only: Path) -> None:
    """The starter's is byte-level BPE; Llama's has byte fallback."""
    _byte_level(tmp_path)
    assert isinstance(load_tokenizer(tmp_path), ByteLevelTokenizer)
    assert isinstance(load_tokenizer(json_only), ByteFallbackTokenizer)


def test_json_encodes_like_sentencepiece(json_only: Path, codellama: CodeLlamaTokenizer) -> None:
    tokenizer = load_tokenizer(json_only)
    assert [(text, tokenizer.encode(text)) for text, _ in llama_cpp_vectors()] == llama_cpp_vectors()
    source = Path(json.__file__).read_text("utf-8")
    assert tokenizer.encode_continuation(source) == codellama.encode_continuation(source)
    assert [tokenizer.piece_bytes(i) for i in range(32017)] == [codellama.piece_bytes(i) for i in range(32017)]
    names = ["<s>", "</s>", "▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"]
    assert [tokenizer.control_id(name) for name in names] == [1, 2, 32007, 32008, 32009, 32010]


def test_markers_in_text_stay_text_with_json(json_only: Path) -> None:
    """In a ``tokenizer.json``, merges could turn text into a sentinel."""
    tokenizer = load_tokenizer(json_only)
    text = "x <PRE> <SUF> <MID> <EOT> <EOT><EOT></s><s><unk>"
    ids = tokenizer.encode_continuation(text)
    assert decode(tokenizer, ids) == text
    assert not set(ids) & {0, 1, 2, *range(32007, 32016)}


def test_empty_folder_raises(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"neither tokenizer.model nor tokenizer.json. Download the checkpoint"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "pointer", "empty", "zeros"])
def test_damaged_tokenizer_model_raises(codellama_vocabulary: Path, tmp_path: Path, damage: str) -> None:
    """A truncated download, a Git LFS pointer, a full disk."""
    whole = (codellama_vocabulary / "tokenizer.model").read_bytes()
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:9e55\nsize 500058\n"
    content = {"cut": whole[:300_001], "pointer": pointer, "empty": b"", "zeros": b"\0" * len(whole)}
    (tmp_path / "tokenizer.model").write_bytes(content[damage])
    with pytest.raises(TokenizerError, match=r"tokenizer.model is damaged. Download the checkpoint again\."):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"model": {"byte_fallback": true}}', '{"model": {}}'])
def test_damaged_tokenizer_json_raises(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TokenizerError, match=r"tokenizer.json or a file beside it is damaged. Download the checkpoint"):
        load_tokenizer(tmp_path)


def test_damaged_added_tokens_file_raises(codellama_vocabulary: Path, tmp_path: Path) -> None:
    shutil.copy(codellama_vocabulary / "tokenizer.model", tmp_path)
    (tmp_path / "added_tokens.json").write_text("{")
    with pytest.raises(TokenizerError, match=r"tokenizer.model or a file beside it is damaged"):
        load_tokenizer(tmp_path)


def test_vocabulary_of_another_checkpoint_raises(codellama_vocabulary: Path, tmp_path: Path) -> None:
    """With the infilling vocabulary, CodeLlama-34b would get sentinels past its last row."""
    shutil.copy(codellama_vocabulary / "tokenizer.model", tmp_path)
    (tmp_path / "config.json").write_text('{"vocab_size": 32000}')
    with pytest.raises(TokenizerError, match=r"has 32016 pieces but its model only 32000: they belong to different"):
        load_tokenizer(tmp_path)


def test_vocabulary_of_another_family_raises(tmp_path: Path) -> None:
    """Without byte fallback, characters would be dropped silently."""
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("▁", -1.0, 1), ("a", -2.0, 1)]
    trainer = [(3, 2), (4, 5), (40, 0), (41, 1), (42, 2), (43, -1)]
    (tmp_path / "tokenizer.model").write_bytes(write_proto(pieces, trainer))
    with pytest.raises(TokenizerError, match=r"is not of the Llama family\. Choose another checkpoint"):
        load_tokenizer(tmp_path)
