"""``codellama-ls models`` with the real store and a real engine."""

from __future__ import annotations

import asyncio
import json

import pytest
from fakes.scripted_model import ScriptedModel
from fakes.tiny_llama import save_llama
from support.fixtures_engine import serving

from inference.commands import models_command
from inference.models import store
from lsp_server import cli


@pytest.fixture(autouse=True)
def starter(tmp_path, monkeypatch, runtime):
    """Install a starter without weights."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    with store.locked("starter", on_wait=lambda: None), store.installing("starter", "a test", 0) as staging:
        (staging.checkpoint / "config.json").write_text("{}")


def test_json_marks_installed_models(capsys):
    assert cli.main(["models", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert (row["id"], row["installed"], row["in_use"]) == ("starter", True, False)


def test_unused_model_is_removed(capsys, tmp_path):
    assert cli.main(["models", "remove", "starter", "--yes"]) == 0
    assert not (tmp_path / "models" / "starter").exists()


async def test_model_of_a_running_engine_is_not_removed(runtime, capsys):
    """Also while the engine is loading it."""
    for phase in ("ready", "loading"):
        async with serving(runtime, ScriptedModel(), phase=phase):
            assert await asyncio.to_thread(cli.main, ["models", "remove", "starter", "--yes"]) == 1
            assert capsys.readouterr().err.startswith("codellama-ls: starter is in use. Run `codellama-ls engine stop`")
    assert store.installed("starter").is_dir()


async def test_engine_that_failed_to_load_uses_no_model(runtime):
    async with serving(runtime, ScriptedModel(), phase="failed"):
        assert await asyncio.to_thread(models_command.in_use) == set()


def test_abilities_of_a_custom_model_are_those_noted_by_pull(capsys):
    """It is not in the catalogue."""
    with store.locked("mine", on_wait=lambda: None), store.installing("mine", "a test", 0) as staging:
        save_llama(staging.checkpoint)
        staging.facts["trained"] = {"infill": True, "chat": "llama"}
    assert cli.main(["models", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[-1]
    assert (row["id"], row["infill"], row["chat"], row["context"]) == ("mine", True, "llama", 256)
