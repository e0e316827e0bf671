"""What is installed is listed, and removed whole."""

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


def test_all_models_are_listed_and_what_is_beside_them_is_not(models: Path):
    """Locks, interrupted installations and stray files are no models."""
    for model_id in ("starter", "codellama-7b"):
        install(model_id)
    (models / ".codellama-13b.partial").mkdir()
    (models / "notes.txt").write_text("mine")
    assert store.all_installed() == {"codellama-7b": models / "codellama-7b", "starter": models / "starter"}


def test_damaged_model_is_listed_and_can_be_removed(models: Path):
    """Else nobody could get rid of it."""
    install("starter")
    (models / "starter" / MANIFEST).unlink()
    (store.kept("starter", "1") / "shard").write_text("of an interrupted pull")
    store.remove("starter")
    assert [path.name for path in models.iterdir()] == [".starter.lock"]


def test_interrupted_removal_leaves_no_model_and_no_obstacle(models: Path):
    """What it left is cleared by the next removal."""
    install("starter")
    (models / ".starter.partial").mkdir()
    store.remove("starter")
    assert not (models / ".starter.partial").exists()


def test_missing_model_is_said(models: Path):
    """In the words of the store."""
    with pytest.raises(store.ModelMissingError, match=r"The model 'starter' is not installed\."):
        store.remove("starter")


def test_model_that_is_being_pulled_stays(models: Path):
    """The pull holds the lock of that model."""
    install("starter")
    with FileLock(models / ".starter.lock"), pytest.raises(store.StoreError, match="is being installed"):
        store.remove("starter")
    assert store.installed("starter") == models / "starter"


def test_name_that_leads_elsewhere_is_refused(models: Path):
    """Nothing outside the models' folder is ever deleted."""
    with pytest.raises(store.StoreError, match="can't name a model"):
        store.remove("../models")
