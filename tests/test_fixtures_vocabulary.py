"""The vocabulary fixtures themselves: silence about a missing vocabulary would hide every golden vector."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from support import fixtures_vocabulary
from support.vocabulary import MD5, VocabularyUnavailable


def _unreachable(flavour: str) -> Path:
    raise VocabularyUnavailable(f"no network for {flavour}")


def test_a_missing_vocabulary_skips_with_its_reason_but_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person on a train may test the rest; CI may not pretend."""
    monkeypatch.setattr(fixtures_vocabulary, "vocabulary_folder", _unreachable)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no network for llama2"):
        fixtures_vocabulary.folder_or_skip("llama2")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(VocabularyUnavailable):
        fixtures_vocabulary.folder_or_skip("llama2")


def test_the_rebuilt_files_equal_metas(llama2_vocabulary: Path, codellama_vocabulary: Path) -> None:
    """By the MD5 that others have published."""
    folders = {"llama2": llama2_vocabulary, "codellama": codellama_vocabulary}
    data = {name: (folder / "tokenizer.model").read_bytes() for name, folder in folders.items()}
    assert {name: hashlib.md5(proto).hexdigest() for name, proto in data.items()} == MD5
    assert {name: len(proto) for name, proto in data.items()} == {"llama2": 499_723, "codellama": 500_058}
