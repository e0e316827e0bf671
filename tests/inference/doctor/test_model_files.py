"""Checks of installed models against their checksums."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.tiny_llama import save_checkpoint

from inference.commands import pull_command
from inference.doctor.installation import check_models
from inference.models import quantised, store
from inference.models.manifest import MANIFEST


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    assert pull_command.main([str(save_checkpoint(tmp_path / "tiny")), "--as", "tiny"]) == pull_command.OK
    return store.location("tiny")


def checks(wanted: str = "tiny", *, full: bool = True):
    progress: list[str] = []
    results = list(check_models([wanted, wanted], progress.append, full=full))
    return results, progress


def test_undamaged_model_is_ok_and_progress_reported(installed: Path):
    (check,), progress = checks()
    size = sum(path.stat().st_size for path in installed.iterdir() if path.name != MANIFEST)
    assert (check.name, check.verdict, check.figures["bytes"]) == ("model tiny", "ok", size)
    assert progress[-1] == "verifying the checksums of tiny: 100 %"


def test_full_check_finds_a_changed_byte(installed: Path):
    file = installed / "config.json"
    file.write_bytes(file.read_bytes().replace(b"silu", b"SILU"))
    assert checks(full=False)[0][0].verdict == "ok"
    (check,), _ = checks()
    assert (check.verdict, check.advice) == ("problem", "Run `codellama-ls pull tiny --force` to repair it.")
    assert "config.json" in check.text


def keep_copy(installed: Path) -> Path:
    """Store quantised weights beside the model, as the first start does."""
    where = quantised.copy_folder(installed, "int8")
    assert where is not None

    def save(folder: Path) -> None:
        folder.mkdir()
        (folder / "weights.bin").write_bytes(bytes(2 << 20))

    assert quantised.keep(save, where, 0)
    return where


def test_full_check_finds_damaged_quantised_weights(installed: Path):
    where = keep_copy(installed)
    assert [check.verdict for check in checks()[0]] == ["ok"]
    (where / "weights.bin").write_bytes(bytes(1 << 20) + b"x" * 200 + bytes((1 << 20) - 200))
    assert checks(full=False)[0][0].verdict == "ok"
    (check,), _ = checks()
    assert check.verdict == "problem"
    assert check.text.startswith(f"the quantised weights in {where} are damaged (")
    assert check.advice == "Run `codellama-ls pull tiny --verify` to remove them. The next start makes them again."
    assert pull_command.main(["tiny", "--verify"]) == pull_command.FAILED
    assert not where.exists()
    assert pull_command.main(["tiny", "--verify"]) == pull_command.OK
    assert checks()[0][0].verdict == "ok"


def test_quantised_weights_without_manifest_are_damaged(installed: Path):
    where = keep_copy(installed)
    (where / MANIFEST).unlink()
    (check,), _ = checks(full=False)
    assert "manifest.json" in check.text


def test_missing_model_of_the_settings_is_a_problem(installed: Path):
    (missing, there), _ = checks("starter")
    assert (missing.name, missing.verdict) == ("model starter", "problem")
    assert missing.advice.startswith("Run `codellama-ls pull starter`")
    assert there.verdict == "ok"
