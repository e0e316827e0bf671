"""``codellama-ls models`` with the real store and a real engine's answer."""

from __future__ import annotations

import asyncio
import json

import pytest
from fakes.answerer import ScriptedAnswerer
from fakes.tiny_llama import save_llama
from support.fixtures_engine import serving

from inference.commands import models_command
from inference.models import store
from lsp_server import cli


@pytest.fixture(autouse=True)
def starter(tmp_path, monkeypatch, runtime):
    """An installed starter, as far as the store can tell."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    with store.locked("starter", on_wait=lambda: None), store.installing("starter", "a test", 0) as staging:
        (staging.checkpoint / "config.json").write_text("{}")


def test_installed_models_are_listed_for_programs(capsys):
    """Through the command line; no engine runs."""
    assert cli.main(["models", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert (row["id"], row["installed"], row["in_use"]) == ("starter", True, False)


def test_unused_model_is_removed(capsys, tmp_path):
    """No engine runs, so nobody uses it."""
    assert cli.main(["models", "remove", "starter", "--yes"]) == 0
    assert not (tmp_path / "models" / "starter").exists()


async def test_model_of_a_running_engine_stays(runtime, capsys):
    """Also while it is still being loaded."""
    for phase in ("ready", "loading"):
        async with serving(runtime, ScriptedAnswerer(), phase=phase):
            assert await asyncio.to_thread(cli.main, ["models", "remove", "starter", "--yes"]) == 1
            assert capsys.readouterr().err.startswith("codellama-ls: starter is in use. Run `codellama-ls engine stop`")
    assert store.installed("starter").is_dir()


async def test_engine_that_failed_uses_nothing(runtime):
    """It stays only to tell why."""
    async with serving(runtime, ScriptedAnswerer(), phase="failed"):
        assert await asyncio.to_thread(models_command.in_use) == set()


def test_abilities_of_a_checkpoint_of_ones_own_are_those_noted_when_it_was_pulled(capsys):
    """Nothing in a catalogue tells them."""
    with store.locked("mine", on_wait=lambda: None), store.installing("mine", "a test", 0) as staging:
        save_llama(staging.checkpoint)
        staging.facts["trained"] = {"infill": True, "chat": "llama"}
    assert cli.main(["models", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[-1]
    assert (row["id"], row["infill"], row["chat"], row["context"]) == ("mine", True, "llama", 256)
