"""Installed models against their checksums."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.tiny_llama import save_checkpoint

from inference.diagnosis.weights import check_models
from inference.fetching import pull
from inference.models import store


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    assert pull.main([str(save_checkpoint(tmp_path / "tiny")), "--as", "tiny"]) == pull.OK
    return store.location("tiny")


def checks(wanted: str = "tiny", *, full: bool = True):
    told: list[str] = []
    found = list(check_models([wanted, wanted], told.append, full=full))
    return found, told


def test_whole_model_is_well_and_the_reading_is_told(installed: Path):
    (check,), told = checks()
    size = sum(path.stat().st_size for path in installed.iterdir() if path.name != store.MANIFEST)
    assert (check.name, check.verdict, check.figures["bytes"]) == ("model tiny", "ok", size)
    assert told[-1] == "comparing tiny with its checksums: 100 %"


def test_one_changed_byte_is_found_where_the_content_is_read(installed: Path):
    file = installed / "config.json"
    file.write_bytes(file.read_bytes().replace(b"silu", b"SILU"))
    assert checks(full=False)[0][0].verdict == "ok"
    (check,), _ = checks()
    assert (check.verdict, check.advice) == ("problem", "`codellama-ls pull tiny --force` repairs it.")
    assert "the content of config.json has changed" in check.text


def test_model_that_editors_ask_for_and_is_not_there_is_a_problem(installed: Path):
    (missing, there), _ = checks("starter")
    assert (missing.name, missing.verdict) == ("model starter", "problem")
    assert missing.advice.startswith("`codellama-ls pull starter`")
    assert there.verdict == "ok"
