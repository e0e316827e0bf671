"""Fixtures for the real vocabularies: skipped with a reason where they cannot be fetched, except in CI."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.vocabulary import Flavour, VocabularyUnavailable, vocabulary_folder

from inference.text.llama_tokenizer import CodeLlamaTokenizer


@pytest.fixture(scope="session")
def llama2_vocabulary() -> Path:
    """A folder with the ``tokenizer.model`` of Llama 2, the Python variants and 34B: 32,000 pieces."""
    return folder_or_skip("llama2")


@pytest.fixture(scope="session")
def codellama_vocabulary() -> Path:
    """A folder with the ``tokenizer.model`` of 7B and 13B, base and Instruct: 32,016 pieces."""
    return folder_or_skip("codellama")


@pytest.fixture(scope="session")
def llama2(llama2_vocabulary: Path) -> CodeLlamaTokenizer:
    """The tokenizer of a model without sentinels."""
    return CodeLlamaTokenizer(llama2_vocabulary)


@pytest.fixture(scope="session")
def codellama(codellama_vocabulary: Path) -> CodeLlamaTokenizer:
    """The tokenizer of a model that infills."""
    return CodeLlamaTokenizer(codellama_vocabulary)


def folder_or_skip(flavour: Flavour) -> Path:
    """Return the vocabulary's folder; without one, skip the test, or fail it in CI."""
    try:
        return vocabulary_folder(flavour)
    except VocabularyUnavailable as problem:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(problem))
