"""Fixtures for the real vocabularies. Tests are skipped if they cannot be downloaded, but fail in CI."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.vocabulary import Flavour, VocabularyUnavailable, vocabulary_folder

from inference.text.llama_tokenizer import CodeLlamaTokenizer


@pytest.fixture(scope="session")
def llama2_vocabulary() -> Path:
    """A folder with ``tokenizer.model`` of Llama 2, CodeLlama-34b and the Python models: 32,000 pieces."""
    return folder_or_skip("llama2")


@pytest.fixture(scope="session")
def codellama_vocabulary() -> Path:
    """A folder with ``tokenizer.model`` of CodeLlama 7b and 13b, base and Instruct: 32,016 pieces."""
    return folder_or_skip("codellama")


@pytest.fixture(scope="session")
def llama2(llama2_vocabulary: Path) -> CodeLlamaTokenizer:
    """A tokenizer without infilling sentinels."""
    return CodeLlamaTokenizer(llama2_vocabulary)


@pytest.fixture(scope="session")
def codellama(codellama_vocabulary: Path) -> CodeLlamaTokenizer:
    """A tokenizer with infilling sentinels."""
    return CodeLlamaTokenizer(codellama_vocabulary)


def folder_or_skip(flavour: Flavour) -> Path:
    """Return the vocabulary's folder; without one, skip the test, or fail it in CI."""
    try:
        return vocabulary_folder(flavour)
    except VocabularyUnavailable as problem:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(problem))
