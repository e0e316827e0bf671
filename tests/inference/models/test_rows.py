"""What is known of a model: by the catalogue, by its manifest, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.tiny_llama import save_checkpoint

from inference.fetching import pull
from inference.models import store
from inference.models.catalog import CATALOG, UnknownModelError
from inference.models.rows import find_row, row_of


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))


def test_a_model_of_the_catalogue_needs_no_installation() -> None:
    assert row_of("codellama-7b") is CATALOG["codellama-7b"]
    assert row_of("codellama/CodeLlama-7b-hf") is CATALOG["codellama-7b"]


def test_another_installed_model_has_a_row_of_its_own(tmp_path: Path) -> None:
    """Dimensions and context from its config.json, abilities and origin from its manifest."""
    folder = save_checkpoint(tmp_path / "folder", max_position_embeddings=2048, rope_theta=5e5)
    assert pull.main([str(folder), "--as", "mine", "--chat", "llama"]) == pull.OK
    row = row_of("mine")
    assert (row.id, row.title, row.hub, row.variant) == ("mine", "mine", str(folder), "instruct")
    assert (row.infill, row.chat, row.context, row.usable_context) == (False, "llama", 2048, 2048)
    assert (row.shape.vocab, row.shape.rope_theta, row.licence) == (320, 5e5, "unknown")


@pytest.mark.parametrize("name", ["nobody", "../etc", ""])
def test_what_is_neither_is_refused_with_a_hint(name: str) -> None:
    with pytest.raises(UnknownModelError, match=f"There is no model {name!r}"):
        row_of(name)
    assert find_row(name) is None
