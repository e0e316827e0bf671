"""The vocabulary fixtures: a silently missing vocabulary would disable every golden-vector test."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from support import fixtures_vocabulary
from support.vocabulary import MD5, VocabularyUnavailable


def _unreachable(flavour: str) -> Path:
    raise VocabularyUnavailable(f"no network for {flavour}")


def test_missing_vocabulary_skips_locally_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer without a network can run the other tests; CI must run all of them."""
    monkeypatch.setattr(fixtures_vocabulary, "vocabulary_folder", _unreachable)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no network for llama2"):
        fixtures_vocabulary.folder_or_skip("llama2")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(VocabularyUnavailable):
        fixtures_vocabulary.folder_or_skip("llama2")


def test_rebuilt_files_equal_metas_files(llama2_vocabulary: Path, codellama_vocabulary: Path) -> None:
    """Compared by their published MD5."""
    folders = {"llama2": llama2_vocabulary, "codellama": codellama_vocabulary}
    data = {name: (folder / "tokenizer.model").read_bytes() for name, folder in folders.items()}
    assert {name: hashlib.md5(proto).hexdigest() for name, proto in data.items()} == MD5
    assert {name: len(proto) for name, proto in data.items()} == {"llama2": 499_723, "codellama": 500_058}
