"""Pickled weights: rejected by default, else converted without running their code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes.hub import FakeHub
from safetensors.torch import load_file
from support.fixtures_hub import SHARDS, failure, pull_tiny

from inference.commands import pull_command
from inference.models import store


def test_pickles_are_rejected_before_the_download(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    pickle_weights(hub.folder)
    assert failure(capsys) == (
        "owner/name has its weights only as pickles (pytorch_model.bin). Reading a pickle can run any code that its "
        "author put into it. Choose a checkpoint with .safetensors files, or add --allow-pickle if you trust the "
        "author."
    )
    assert hub.ranges("pytorch_model.bin") == []


def pickle_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Replace the shards by one pickle."""
    weights: dict[str, torch.Tensor] = {}
    for shard in SHARDS:
        weights |= load_file(folder / shard)
        (folder / shard).unlink()
    (folder / "model.safetensors.index.json").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    return weights


def test_allowed_pickles_are_converted_to_safetensors(hub: FakeHub) -> None:
    weights = pickle_weights(hub.folder)
    assert pull_tiny("--allow-pickle") == pull_command.OK
    folder = store.installed("tiny")
    assert list(folder.glob("*.bin*")) == []
    installed = load_file(folder / "model-00001-of-00001.safetensors")
    assert installed.keys() == weights.keys()
    assert all(torch.equal(installed[name], weights[name]) for name in weights)


def test_code_in_a_pickle_is_not_run(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    """--allow-pickle allows only tensors."""
    pickle_weights(hub.folder)
    torch.save({"weight": Bomb()}, hub.folder / "pytorch_model.bin")
    assert "pytorch_model.bin is damaged or holds more than weights (" in failure(capsys, "--allow-pickle")
    assert not Bomb.exploded


class Bomb:
    """Sets ``exploded`` when it is unpickled."""

    exploded = False

    def __reduce__(self):
        return explode, ()


def explode() -> None:
    Bomb.exploded = True
