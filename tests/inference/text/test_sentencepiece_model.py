"""Vocabularies that people made from Llama's: what is hidden from text and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.vocabulary import APPENDED, Piece, llama2_pieces, write_proto

from inference.text.llama_tokenizer import CodeLlamaTokenizer, hide_pieces, trained_size

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4


def _tokenizer(folder: Path, appended: list[Piece], *, trained: int = 32000) -> CodeLlamaTokenizer:
    trainer = [(3, 2), (4, trained), (35, 1), (40, 0), (41, 1), (42, 2), (43, -1)]
    (folder / "tokenizer.model").write_bytes(write_proto(llama2_pieces() + appended, trainer))
    return CodeLlamaTokenizer(folder)


@pytest.mark.usefixtures("llama2_vocabulary")
@pytest.mark.parametrize("kind", [NORMAL, CONTROL, USER_DEFINED])
def test_step_inside_the_vocabulary_file_is_control_whatever_its_type(tmp_path: Path, kind: int) -> None:
    """No copy of the 70B file could be seen, so every type it may have must do."""
    tokenizer = _tokenizer(tmp_path, [*APPENDED[:-1], ("<step>", 0.0, kind)])
    assert tokenizer.control_id("<step>") == 32015
    assert tokenizer.piece_bytes(32015) == b""
    assert tokenizer.encode("a<step>b") == [263, 29966, 10568, 29958, 29890]


@pytest.mark.usefixtures("llama2_vocabulary")
def test_sentinels_are_control_even_in_a_file_that_counts_them_as_trained(tmp_path: Path) -> None:
    """The file's own count of trained pieces is a hint; the sentinels' names are certain."""
    tokenizer = _tokenizer(tmp_path, APPENDED, trained=32016)
    assert tokenizer.control_id("▁<EOT>") == 32010
    assert 32010 not in tokenizer.encode("a <EOT> b")


@pytest.mark.usefixtures("llama2_vocabulary")
def test_words_appended_for_another_language_are_text(tmp_path: Path) -> None:
    """Llama vocabularies extended with Chinese words append them in the same way as Code Llama its sentinels."""
    tokenizer = _tokenizer(tmp_path, [("生活", 0.0, NORMAL)])
    assert tokenizer.encode_continuation("生活") == [32000]
    assert tokenizer.piece_bytes(32000) == "生活".encode()


def test_hiding_keeps_every_other_byte(codellama_vocabulary: Path) -> None:
    """The rewritten file must differ in nothing but the types of the hidden pieces."""
    proto = (codellama_vocabulary / "tokenizer.model").read_bytes()
    assert trained_size(proto) == 32000
    assert hide_pieces(proto, ()) == proto
    assert len(hide_pieces(proto, {32007, 32015})) == len(proto) + 4


@pytest.mark.parametrize("damaged", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"\x0a\xff", b"\x80" * 20])
def test_bytes_that_are_no_proto_are_an_error(damaged: bytes) -> None:
    """A pointer of Git LFS and a cut file are what people have on their disks."""
    with pytest.raises(ValueError, match="not a whole SentencePiece model"):
        trained_size(damaged)
