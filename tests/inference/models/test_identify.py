"""The row of a model, from the catalogue or from its manifest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fakes.tiny_llama import save_checkpoint

from inference.commands import pull_command
from inference.models import store
from inference.models.catalog import CATALOG, STARTER, UnknownModelError, why_no_infill
from inference.models.identify import find_row, row_of
from inference.models.manifest import MANIFEST


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))


def test_catalogue_model_needs_no_installation() -> None:
    assert row_of("codellama-7b") is CATALOG["codellama-7b"]
    assert row_of("codellama/CodeLlama-7b-hf") is CATALOG["codellama-7b"]


def install_starter(**facts: str) -> None:
    with store.locked("starter", on_wait=lambda: None), store.installing("starter", "a test", 0) as staging:
        (staging.checkpoint / "config.json").write_text("{}")
        staging.facts.update(facts)


@pytest.mark.parametrize("name", ["starter", "HuggingFaceTB/SmolLM2-135M-Instruct"])
def test_starter_of_an_older_version_can_not_infill(name: str) -> None:
    """A message gives the update command."""
    install_starter()
    row = row_of(name)
    assert row == replace(STARTER, infill=False)
    assert why_no_infill(row) == (
        "The installed starter can't infill yet. Run `codellama-ls pull starter` to update it."
    )


def test_starter_with_its_adapter_infills() -> None:
    """A starter that is not installed yet counts as able to infill."""
    assert row_of("starter") == STARTER
    install_starter(adapter="5ha")
    assert row_of("starter") == STARTER
    assert why_no_infill(row_of("starter")) is None


def test_damaged_starter_is_listed_as_after_a_repair() -> None:
    install_starter()
    (store.location("starter") / MANIFEST).write_text("{")
    assert find_row("starter") == STARTER


def test_other_installed_model_gets_its_own_row(tmp_path: Path) -> None:
    """Dimensions and context come from its config.json, abilities and origin from its manifest."""
    folder = save_checkpoint(tmp_path / "folder", max_position_embeddings=2048, rope_theta=5e5)
    assert pull_command.main([str(folder), "--as", "mine", "--chat", "llama"]) == pull_command.OK
    row = row_of("mine")
    assert (row.id, row.title, row.hub, row.variant) == ("mine", "mine", str(folder), "instruct")
    assert (row.infill, row.chat, row.context, row.usable_context) == (False, "llama", 2048, 2048)
    assert (row.shape.vocab, row.shape.rope_theta, row.licence) == (320, 5e5, "unknown")


@pytest.mark.parametrize("name", ["nobody", "../etc", ""])
def test_unknown_model_is_refused_with_a_hint(name: str) -> None:
    with pytest.raises(UnknownModelError, match=f"There is no model {name!r}"):
        row_of(name)
    assert find_row(name) is None
