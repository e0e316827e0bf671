"""Prefetched batches equal those drawn directly, in order, from any start."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from fakes.tiny_lesson import install_tiny, write_repository

from inference.models import store
from inference.text.llama_tokenizer import load_tokenizer
from inference.text.source_files import read_sources
from inference.training.examples import Batches
from inference.training.recipe import Recipe
from inference.training.trainer import PrefetchedBatches

RECIPE = Recipe(batch=2, shortest=24, longest=80)


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batches:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    folder = install_tiny()
    return Batches(read_sources([write_repository(tmp_path / "code")]).files, load_tokenizer(folder), RECIPE)


def test_two_workers_give_the_same_batches_from_any_start(batches: Batches) -> None:
    """A run measures speed on the first batches, then resumes in the middle."""
    wanted = {number: batches[number] for number in [*range(3), *range(21, 43)]}
    with closing(PrefetchedBatches(batches, workers=2)) as prefetched:
        assert {number: prefetched[number] for number in wanted} == wanted
