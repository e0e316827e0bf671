"""Installed models against their checksums."""

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
    told: list[str] = []
    found = list(check_models([wanted, wanted], told.append, full=full))
    return found, told


def test_whole_model_is_well_and_the_reading_is_told(installed: Path):
    (check,), told = checks()
    size = sum(path.stat().st_size for path in installed.iterdir() if path.name != MANIFEST)
    assert (check.name, check.verdict, check.figures["bytes"]) == ("model tiny", "ok", size)
    assert told[-1] == "comparing tiny with its checksums: 100 %"


def test_one_changed_byte_is_found_where_the_content_is_read(installed: Path):
    file = installed / "config.json"
    file.write_bytes(file.read_bytes().replace(b"silu", b"SILU"))
    assert checks(full=False)[0][0].verdict == "ok"
    (check,), _ = checks()
    assert (check.verdict, check.advice) == ("problem", "`codellama-ls pull tiny --force` repairs it.")
    assert "the content of config.json has changed" in check.text


def keep_copy(installed: Path) -> Path:
    """Quantised weights beside the model, as the first start keeps them."""
    where = quantised.place(installed, "int8")
    assert where is not None

    def save(folder: Path) -> None:
        folder.mkdir()
        (folder / "weights.bin").write_bytes(bytes(2 << 20))

    assert quantised.keep(save, where, 0)
    return where


def test_changed_bytes_in_quantised_weights_are_found_where_the_content_is_read(installed: Path):
    where = keep_copy(installed)
    assert [check.verdict for check in checks()[0]] == ["ok"]
    (where / "weights.bin").write_bytes(bytes(1 << 20) + b"x" * 200 + bytes((1 << 20) - 200))
    assert checks(full=False)[0][0].verdict == "ok"
    (check,), _ = checks()
    assert check.verdict == "problem"
    assert check.text == f"the quantised weights in {where} are damaged (the content of weights.bin has changed)"
    assert check.advice == "`codellama-ls pull tiny --verify` removes them; the next start makes them again."
    assert pull_command.main(["tiny", "--verify"]) == pull_command.FAILED
    assert not where.exists()
    assert pull_command.main(["tiny", "--verify"]) == pull_command.OK
    assert checks()[0][0].verdict == "ok"


def test_quantised_weights_of_an_older_version_have_no_manifest(installed: Path):
    where = keep_copy(installed)
    (where / MANIFEST).unlink()
    (check,), _ = checks(full=False)
    assert "its manifest.json can't be read" in check.text


def test_model_that_editors_ask_for_and_is_not_there_is_a_problem(installed: Path):
    (missing, there), _ = checks("starter")
    assert (missing.name, missing.verdict) == ("model starter", "problem")
    assert missing.advice.startswith("`codellama-ls pull starter`")
    assert there.verdict == "ok"
