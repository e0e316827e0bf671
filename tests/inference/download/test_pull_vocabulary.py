"""``codellama-ls pull ID --tokenizer``: what asking another server takes of a checkpoint, which is no weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.hub import FakeHub
from support.fixtures_hub import SHARDS

from inference.commands import pull_command
from inference.models import store
from inference.models.store import all_installed
from inference.text.tokenizer_loader import load_tokenizer


def fetch(*arguments: str) -> int:
    return pull_command.main([*arguments, "--tokenizer", "--accept-licence"])


def test_no_weights_are_fetched_and_no_model_is_listed(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("owner/name", "--as", "codellama-34b") == pull_command.OK
    folder = store.folder_of("codellama-34b")
    assert capsys.readouterr().err.endswith(f"The vocabulary of codellama-34b (Code Llama 34B) is in {folder}.\n")
    assert load_tokenizer(folder).bos_id == 1
    assert not any(hub.ranges(shard) for shard in SHARDS)
    assert all_installed() == {}


def test_a_folder_will_do(published: Path, hub: FakeHub) -> None:
    assert fetch(str(published), "--as", "codellama-34b") == pull_command.OK
    names = {path.name for path in store.folder_of("codellama-34b").iterdir()}
    assert {"config.json", "tokenizer.model"} <= names
    assert not any(name.endswith((".safetensors", ".index.json")) for name in names)
    assert hub.seen == []


def test_weights_that_were_half_fetched_stay(hub: FakeHub) -> None:
    hub.cuts[SHARDS[1]] = [10_000, 0]
    whole = ["owner/name", "--as", "codellama-34b", "--accept-licence"]
    assert pull_command.main(whole) == pull_command.FAILED
    assert fetch("owner/name", "--as", "codellama-34b") == pull_command.OK
    pull_command.main(whole)
    assert hub.ranges(SHARDS[0]) == [None]


def test_a_vocabulary_of_another_model_is_refused(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("owner/name", "--as", "codellama-7b") == pull_command.FAILED
    assert "The vocabulary in owner/name lacks infilling's control tokens" in capsys.readouterr().err
    with pytest.raises(store.VocabularyMissingError):
        store.folder_of("codellama-7b")


@pytest.mark.parametrize("arguments", [["starter"], ["owner/name", "--as", "mine"]])
def test_it_is_for_what_the_catalogue_knows_the_rest_of(
    hub: FakeHub, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(*arguments) == pull_command.USAGE
    assert "--tokenizer is for Code Llama models" in capsys.readouterr().err
    assert hub.seen == []


def test_it_can_be_fetched_anew(published: Path, hub: FakeHub) -> None:
    """A changed file does not stay beside the new ones."""
    assert fetch(str(published), "--as", "codellama-34b") == pull_command.OK
    stray = store.folder_of("codellama-34b") / "added_tokens.json"
    stray.write_text('{"<mine>": 5}')
    assert fetch(str(published), "--as", "codellama-34b") == pull_command.OK
    assert not stray.exists()
    assert store.models_folder().is_dir()
