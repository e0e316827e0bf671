"""Whose vocabulary serves whom."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from support.fixtures_remote import put_vocabulary

from inference.models import store
from inference.models.store import VocabularyMissingError, folder_of


@pytest.fixture(autouse=True)
def _empty(no_models: None) -> None:
    """No model is installed."""


def test_a_model_that_is_not_there_is_asked_for_in_words_that_help():
    with pytest.raises(VocabularyMissingError) as error:
        folder_of("codellama/CodeLlama-70b-hf")
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
def test_one_of_the_same_file_serves(wanted, serves):
    folder = put_vocabulary("codellama-7b")
    if serves:
        assert folder_of(wanted) == folder
    else:
        with pytest.raises(VocabularyMissingError):
            folder_of(wanted)


def test_its_own_goes_before_anothers():
    put_vocabulary("codellama-7b")
    own = put_vocabulary("codellama-13b")
    assert folder_of("codellama-13b") == own


def test_an_installed_model_has_one():
    folder = store.location("mine")
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text("{}")
    assert folder_of("mine") == folder


def test_two_that_put_the_same_one_do_so_after_each_other(tmp_path):
    """Two windows' commands would copy into one unfinished folder, and each remove it under the other."""
    file, began = tmp_path / "tokenizer.model", threading.Event()
    file.write_bytes(b"pieces")

    def others():
        began.set()
        yield file

    def own():
        yield file
        waiting.append(pool.submit(store.put, "codellama-7b", others()))
        assert not began.wait(0.3)

    waiting: list[Future[Path]] = []
    with ThreadPoolExecutor(1) as pool:
        folder = store.put("codellama-7b", own())
        assert waiting[0].result(10) == folder
    assert [path.name for path in folder.iterdir()] == ["tokenizer.model"]


@pytest.mark.parametrize("name", ["../mine", "", "/etc"])
def test_a_name_cannot_lead_elsewhere(name):
    with pytest.raises(store.StoreError):
        store.place(name)
