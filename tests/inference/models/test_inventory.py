"""Installed models are listed, and removed completely."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from inference.models import store
from inference.models.manifest import MANIFEST


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(folder))
    return folder


def install(model_id: str) -> None:
    with store.locked(model_id, on_wait=lambda: None), store.installing(model_id, "a test", 0) as staging:
        (staging.checkpoint / "config.json").write_text("{}")


def test_nothing_is_installed_before_the_first_pull():
    """The models' folder need not exist."""
    assert store.all_installed() == {}


def test_only_models_are_listed(models: Path):
    """Locks, interrupted installations and stray files are not models."""
    for model_id in ("starter", "codellama-7b"):
        install(model_id)
    (models / ".codellama-13b.partial").mkdir()
    (models / "notes.txt").write_text("mine")
    assert store.all_installed() == {"codellama-7b": models / "codellama-7b", "starter": models / "starter"}


def test_damaged_model_is_listed_and_can_be_removed(models: Path):
    install("starter")
    (models / "starter" / MANIFEST).unlink()
    (store.download_folder("starter", "1") / "shard").write_text("of an interrupted pull")
    store.remove("starter")
    assert [path.name for path in models.iterdir()] == [".starter.lock"]


def test_interrupted_removal_is_finished_by_the_next(models: Path):
    install("starter")
    (models / ".starter.partial").mkdir()
    store.remove("starter")
    assert not (models / ".starter.partial").exists()


def test_removing_a_missing_model_is_refused(models: Path):
    with pytest.raises(store.ModelMissingError, match=r"The model 'starter' is not installed\."):
        store.remove("starter")


def test_model_that_is_being_pulled_is_not_removed(models: Path):
    """The pull holds the lock of that model."""
    install("starter")
    with FileLock(models / ".starter.lock"), pytest.raises(store.StoreError, match="is being installed"):
        store.remove("starter")
    assert store.installed("starter") == models / "starter"


def test_path_as_a_name_is_refused(models: Path):
    """Nothing outside the models' folder is ever deleted."""
    with pytest.raises(store.StoreError, match="can't name a model"):
        store.remove("../models")
