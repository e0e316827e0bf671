"""The folder of a model's vocabulary, its own or another model's."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from support.fixtures_remote import put_vocabulary

from inference.models import store
from inference.models.store import VocabularyMissingError, find_vocabulary


@pytest.fixture(autouse=True)
def _empty(no_models: None) -> None:
    """No model is installed."""


def test_missing_vocabulary_names_the_command_to_get_it():
    with pytest.raises(VocabularyMissingError) as error:
        find_vocabulary("codellama/CodeLlama-70b-hf")
    assert str(error.value) == (
        "The vocabulary of 'codellama-70b' is not on this machine. Run `codellama-ls pull codellama-70b --tokenizer`, "
        "which fetches no weights."
    )


@pytest.mark.parametrize(
    ("wanted", "serves"),
    [
        ("codellama-7b", True),
        ("codellama-13b-instruct", True),
        ("codellama-70b", True),
        ("codellama-34b", False),  # 32,000 pieces, without sentinels
        ("codellama-7b-python", False),
        ("starter", False),
        ("mine", False),
    ],
)
def test_vocabulary_of_an_equal_model_is_used(wanted, serves):
    folder = put_vocabulary("codellama-7b")
    if serves:
        assert find_vocabulary(wanted) == folder
    else:
        with pytest.raises(VocabularyMissingError):
            find_vocabulary(wanted)


def test_own_vocabulary_comes_first():
    put_vocabulary("codellama-7b")
    own = put_vocabulary("codellama-13b")
    assert find_vocabulary("codellama-13b") == own


def test_installed_model_has_a_vocabulary():
    folder = store.location("mine")
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text("{}")
    assert find_vocabulary("mine") == folder


def test_concurrent_installations_of_a_vocabulary_wait(tmp_path):
    """Otherwise two commands would copy into one temporary folder, and each remove it under the other."""
    file, began = tmp_path / "tokenizer.model", threading.Event()
    file.write_bytes(b"pieces")

    def others():
        began.set()
        yield file

    def own():
        yield file
        waiting.append(pool.submit(store.put_vocabulary, "codellama-7b", others()))
        assert not began.wait(0.3)

    waiting: list[Future[Path]] = []
    with ThreadPoolExecutor(1) as pool:
        folder = store.put_vocabulary("codellama-7b", own())
        assert waiting[0].result(10) == folder
    assert [path.name for path in folder.iterdir()] == ["tokenizer.model"]


@pytest.mark.parametrize("name", ["../mine", "", "/etc"])
def test_name_can_not_be_a_path(name):
    with pytest.raises(store.StoreError):
        store.vocabulary_folder(name)
