"""Checks of folder and file permissions, and the commands that they suggest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inference.doctor.installation import check_permissions
from inference.models import adapter_store, store
from inference.system.runtime_folder import bind_socket, read_or_create_token


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program's only folder, with all others redirected to a temporary one."""
    for name in ("CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.delenv(store.FOLDER_VARIABLE, raising=False)
    monkeypatch.delenv(adapter_store.FOLDER_VARIABLE, raising=False)
    folder = tmp_path / "CACHE" / "codellama-ls"
    folder.mkdir(parents=True, mode=0o700)
    return folder


def test_folders_made_by_the_program_are_ok(runtime: Path, own: Path):
    read_or_create_token(runtime / "engine.token")
    with bind_socket(runtime / "engine.sock"):
        first, second = check_permissions()
    assert (first.verdict, first.text) == ("ok", f"only you can access {runtime}")
    assert (second.verdict, second.text) == ("ok", f"only you can access {own}")


def test_token_that_others_can_read_is_a_problem(runtime: Path, own: Path):
    read_or_create_token(runtime / "engine.token")
    (runtime / "engine.token").chmod(0o644)
    check = next(check_permissions())
    assert (check.verdict, check.text) == ("problem", f"others can access files in {runtime}: engine.token")
    assert check.advice == f"Run `chmod 600 '{runtime}/engine.token'`."


@pytest.mark.parametrize(
    ("mode", "verdict", "text"),
    [(0o755, "warning", "others can read files in"), (0o770, "problem", "others can change files in")],
)
def test_write_access_of_others_is_worse_than_read_access(runtime: Path, own: Path, mode: int, verdict: str, text: str):
    """With write access others can plant a library or weights."""
    own.chmod(mode)
    _, check = check_permissions()
    assert (check.verdict, check.text, check.advice) == (verdict, f"{text} {own}", f"Run `chmod 700 '{own}'`.")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_folder_of_another_user_is_a_problem(runtime: Path, own: Path, mode: int):
    """Only its owner can change its mode, and its content must be kept: a run under sudo leaves such a folder."""
    models = own / "models"
    models.mkdir()
    models.chmod(mode)
    os.chown(models, 12345, -1)
    _, check = check_permissions()
    assert (check.verdict, check.text) == ("problem", f"others can change files in {models}")
    assert check.advice == f"Run `sudo chown -R 0 '{models}'`, or set CODELLAMA_LS_MODELS to a folder that you own."


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_folder_of_root_is_a_warning(runtime: Path, own: Path, monkeypatch):
    """Root is no threat, but nothing can be stored there."""
    models = own / "models"
    models.mkdir(mode=0o755)
    os.chown(own, 12345, -1)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    _, check = check_permissions()
    assert (check.verdict, check.text) == (
        "warning",
        f"root owns these folders, so nothing can be stored there: {models}",
    )
    assert check.advice == f"Run `sudo chown -R 12345 '{models}'`, or set CODELLAMA_LS_MODELS to a folder that you own."


def test_file_in_place_of_the_runtime_folder_is_a_problem(tmp_path: Path, own: Path, monkeypatch):
    (tmp_path / "codellama-ls").write_text("a file")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    check = next(check_permissions())
    assert check.verdict == "problem"
    assert str(tmp_path / "codellama-ls") in check.text
