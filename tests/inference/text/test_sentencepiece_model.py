"""Vocabularies derived from Llama's: appended pieces that are text or control tokens."""

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
def test_step_piece_is_a_control_token_of_any_type(tmp_path: Path, kind: int) -> None:
    """The piece type in the original 70B file is unknown."""
    tokenizer = _tokenizer(tmp_path, [*APPENDED[:-1], ("<step>", 0.0, kind)])
    assert tokenizer.control_id("<step>") == 32015
    assert tokenizer.piece_bytes(32015) == b""
    assert tokenizer.encode("a<step>b") == [263, 29966, 10568, 29958, 29890]


@pytest.mark.usefixtures("llama2_vocabulary")
def test_sentinels_counted_as_trained_are_control_tokens(tmp_path: Path) -> None:
    """The file's number of trained pieces is a hint; the sentinels are known by name."""
    tokenizer = _tokenizer(tmp_path, APPENDED, trained=32016)
    assert tokenizer.control_id("▁<EOT>") == 32010
    assert 32010 not in tokenizer.encode("a <EOT> b")


@pytest.mark.usefixtures("llama2_vocabulary")
def test_appended_words_of_another_language_are_text(tmp_path: Path) -> None:
    """Llama vocabularies extended with Chinese append pieces as Code Llama does."""
    tokenizer = _tokenizer(tmp_path, [("生活", 0.0, NORMAL)])
    assert tokenizer.encode_continuation("生活") == [32000]
    assert tokenizer.piece_bytes(32000) == "生活".encode()


def test_hiding_changes_only_the_types_of_hidden_pieces(codellama_vocabulary: Path) -> None:
    proto = (codellama_vocabulary / "tokenizer.model").read_bytes()
    assert trained_size(proto) == 32000
    assert hide_pieces(proto, ()) == proto
    assert len(hide_pieces(proto, {32007, 32015})) == len(proto) + 4


@pytest.mark.parametrize("damaged", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"\x0a\xff", b"\x80" * 20])
def test_damaged_proto_raises(damaged: bytes) -> None:
    """Such as a Git LFS pointer or a truncated file."""
    with pytest.raises(ValueError, match="not a whole SentencePiece model"):
        trained_size(damaged)
