"""``codellama-ls pull ID --tokenizer``: only the tokenizer, for use with a remote server."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.hub import FakeHub
from support.fixtures_hub import SHARDS

from inference.commands import pull_command
from inference.models import store
from inference.models.store import all_installed
from inference.text.llama_tokenizer import load_tokenizer


def fetch(*arguments: str) -> int:
    return pull_command.main([*arguments, "--tokenizer", "--accept-licence"])


def test_weights_are_not_downloaded_and_no_model_is_listed(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("owner/name", "--as", "codellama-34b") == pull_command.OK
    folder = store.find_vocabulary("codellama-34b")
    assert capsys.readouterr().err.endswith(f"The vocabulary of codellama-34b (Code Llama 34B) is in {folder}.\n")
    assert load_tokenizer(folder).bos_id == 1
    assert not any(hub.ranges(shard) for shard in SHARDS)
    assert all_installed() == {}


def test_vocabulary_of_a_folder_is_installed(published: Path, hub: FakeHub) -> None:
    assert fetch(str(published), "--as", "codellama-34b") == pull_command.OK
    names = {path.name for path in store.find_vocabulary("codellama-34b").iterdir()}
    assert {"config.json", "tokenizer.model"} <= names
    assert not any(name.endswith((".safetensors", ".index.json")) for name in names)
    assert hub.seen == []


def test_partial_download_of_weights_is_kept(hub: FakeHub) -> None:
    hub.cuts[SHARDS[1]] = [10_000, 0]
    whole = ["owner/name", "--as", "codellama-34b", "--accept-licence"]
    assert pull_command.main(whole) == pull_command.FAILED
    assert fetch("owner/name", "--as", "codellama-34b") == pull_command.OK
    pull_command.main(whole)
    assert hub.ranges(SHARDS[0]) == [None]


def test_vocabulary_of_another_model_is_rejected(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("owner/name", "--as", "codellama-7b") == pull_command.FAILED
    assert "The vocabulary in owner/name lacks infilling's control tokens" in capsys.readouterr().err
    with pytest.raises(store.VocabularyMissingError):
        store.find_vocabulary("codellama-7b")


@pytest.mark.parametrize("arguments", [["starter"], ["owner/name", "--as", "mine"]])
def test_tokenizer_option_is_for_code_llama_models(
    hub: FakeHub, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(*arguments) == pull_command.USAGE
    assert "--tokenizer is for Code Llama models" in capsys.readouterr().err
    assert hub.seen == []


def test_second_pull_replaces_all_files(published: Path, hub: FakeHub) -> None:
    assert fetch(str(published), "--as", "codellama-34b") == pull_command.OK
    stray = store.find_vocabulary("codellama-34b") / "added_tokens.json"
    stray.write_text('{"<mine>": 5}')
    assert fetch(str(published), "--as", "codellama-34b") == pull_command.OK
    assert not stray.exists()
    assert store.models_folder().is_dir()
