"""``codellama-ls tune`` from the command line: the adapter, its gain, resumption and errors."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from fakes.tiny_lesson import install_tiny, write_repository
from support.waiting import until

from inference.commands.tune_command import main
from inference.models import adapter_store, store
from inference.system import machine

FAST = ["--model", "tiny", "--rank", "4", "--device", "cpu"]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository, and an installed tiny model to tune."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    monkeypatch.setenv(adapter_store.FOLDER_VARIABLE, str(tmp_path / "adapters"))
    install_tiny()
    return write_repository(tmp_path / "repository")


def test_adapter_and_its_gain_are_written(repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine"
    assert main([str(repository), *FAST, "--steps", "40", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "11 files to train on" in captured.err
    assert "1 held out" in captured.err
    assert "step 40 of 40" in captured.err
    rows = [line for line in captured.out.splitlines() if "SPM" in line or "PSM" in line]
    assert len(rows) == 6  # end, line and block in both layouts
    facts = json.loads((out / "tuning.json").read_text())
    assert facts["after"] < facts["before"]
    assert facts["recipe"]["spm"] == 0.5
    assert (facts["base"], facts["base_source"], facts["files"]) == ("tiny", "a test", 11)
    assert {path.name for path in out.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors", "tuning.json"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_suffix_first_base_gets_its_recipe_by_default(repository: Path, tmp_path: Path) -> None:
    install_tiny("starter")
    shares = []
    for options in ([], ["--recipe", "user"], ["--spm", "0.7"]):
        out = tmp_path / f"mine{len(shares)}"
        assert main([str(repository), *FAST, "--model", "starter", *options, "--steps", "1", "--out", str(out)]) == 0
        shares.append(json.loads((out / "tuning.json").read_text())["recipe"]["spm"])
    assert shares == [0.95, 0.5, 0.7]


def test_adapter_is_installed_and_replaces_an_older_one(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has the folder's name. Workspaces that enabled it keep using it."""
    assert main([str(repository), *FAST, "--steps", "1"]) == 0
    assert "installed as repository. Run `codellama-ls adapters enable repository`" in capsys.readouterr().err
    adapter_store.enable("repository", repository)
    assert main([str(repository), *FAST, "--steps", "2"]) == 0
    assert adapter_store.enabled_for(repository) == "repository"
    found = adapter_store.installed()
    assert list(found) == ["repository"]
    assert (found["repository"].base, found["repository"].files, found["repository"].problem) == ("tiny", 11, "")


async def test_killed_run_resumes_to_the_same_adapter(repository: Path, tmp_path: Path) -> None:
    """After ``kill -9``, the same command gives the adapter of an undisturbed run, byte for byte."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    arguments = [str(repository), *FAST, "--steps", "60"]
    assert main([*arguments, "--out", str(whole)]) == 0
    command = [sys.executable, "-m", "inference.commands.tune_command", *arguments, "--checkpoint-every", "0"]
    run = await asyncio.create_subprocess_exec(*command, "--out", str(killed), stderr=asyncio.subprocess.DEVNULL)
    state = tmp_path / ".killed.training" / "checkpoint" / "run.json"
    await until(lambda: state.exists() and json.loads(state.read_text())["step"] >= 3, 120)
    run.kill()
    await run.wait()
    assert not killed.exists()
    assert main([*arguments, "--out", str(killed)]) == 0
    name = "adapter_model.safetensors"
    assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_run_with_other_settings_is_not_resumed(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / ".mine.training"
    work.mkdir()
    (work / "settings.json").write_text('{"base": "tiny", "code": "other"}')
    arguments = [str(repository), *FAST, "--steps", "2", "--out", str(tmp_path / "mine")]
    assert main(arguments) == 1
    assert "has other settings (base_source, code, recipe). Add --restart" in capsys.readouterr().err
    assert main([*arguments, "--restart"]) == 0


def test_run_can_start_from_an_adapter(repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second run's score before training is the first one's after."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([str(repository), *FAST, "--steps", "30", "--out", str(first)]) == 0
    assert main([str(repository), *FAST, "--steps", "1", "--from", str(first), "--out", str(second)]) == 0
    facts = [json.loads((folder / "tuning.json").read_text()) for folder in (first, second)]
    assert facts[1]["before"] == pytest.approx(facts[0]["after"], rel=0.02)  # stored in bfloat16
    assert main([str(repository), *FAST, "--steps", "1", "--from", str(repository), "--out", str(second)]) == 1
    assert "There is no adapter in" in capsys.readouterr().err


def test_dry_run_only_prints_an_estimate(repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(repository), *FAST, "--minutes", "5", "--dry-run", "--out", str(tmp_path / "mine")]) == 0
    out = capsys.readouterr().out
    assert "tokens of code" in out
    assert "tokens of examples in 5 minutes" in out
    assert "Memory: about" in out
    assert {path.name for path in tmp_path.iterdir()} == {"repository", "models"}


@pytest.mark.parametrize(("quick", "form"), [(False, "fp32"), (True, "bf16")])
def test_cpu_with_fast_bfloat16_trains_in_it(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, quick: bool, form: str
) -> None:
    """AVX512_BF16 decides the default; --format overrides it."""
    monkeypatch.setattr(machine, "_has_avx512_bf16", lambda: quick)
    assert main([str(repository), *FAST, "--dry-run"]) == 0
    assert f"weights ({form})" in capsys.readouterr().out
    assert main([str(repository), *FAST, "--dry-run", "--format", "nf4"]) == 0
    assert "weights (nf4)" in capsys.readouterr().out


def test_model_without_sentinels_is_rejected(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fakes import tiny_llama

    monkeypatch.setattr("fakes.tiny_lesson.save_checkpoint", lambda folder, **_: tiny_llama.save_checkpoint(folder))
    install_tiny("plain", infill=False)
    assert main([str(repository), "--model", "plain"]) == 1
    assert "plain can't learn to infill" in capsys.readouterr().err


def test_unusable_inputs_are_reported(repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere"), *FAST]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert main([str(repository / "a.py"), *FAST]) == 1
    assert "At least two files of code are needed" in capsys.readouterr().err
    assert main([str(repository), "--model", "codellama-7b"]) == 1
    assert "codellama-ls pull codellama-7b" in capsys.readouterr().err
