"""Folders and files that others may enter, read or change are found, with the command that closes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inference.doctor.installation import check_permissions
from inference.models import adapter_store, store
from inference.system.runtime_folder import bind, token


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All folders of this program below one."""
    for name in ("CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.delenv(store.FOLDER_VARIABLE, raising=False)
    monkeypatch.delenv(adapter_store.FOLDER_VARIABLE, raising=False)
    folder = tmp_path / "CACHE" / "codellama-ls"
    folder.mkdir(parents=True, mode=0o700)
    return folder


def test_what_the_program_makes_itself_is_well(runtime: Path, own: Path):
    token(runtime / "engine.token")
    with bind(runtime / "engine.sock"):
        first, second = check_permissions()
    assert (first.verdict, first.text) == ("ok", f"{runtime} and all in it are yours alone")
    assert (second.verdict, second.text) == ("ok", f"yours alone: {own}")


def test_token_that_others_may_read_is_a_problem(runtime: Path, own: Path):
    token(runtime / "engine.token")
    (runtime / "engine.token").chmod(0o644)
    check = next(check_permissions())
    assert (check.verdict, check.text) == ("problem", f"not yours alone in {runtime}: engine.token")
    assert check.advice == f"`chmod 600 '{runtime}/engine.token'`"


@pytest.mark.parametrize(
    ("mode", "verdict", "text"),
    [(0o755, "warning", "others can look into"), (0o770, "problem", "others can change what is in")],
)
def test_folder_that_others_may_enter(runtime: Path, own: Path, mode: int, verdict: str, text: str):
    """Who may write there has this user run a library, and trust weights, of theirs."""
    own.chmod(mode)
    _, check = check_permissions()
    assert (check.verdict, check.text, check.advice) == (verdict, f"{text} {own}", f"`chmod 700 '{own}'`")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_folder_of_somebody_else_is_taken_back_or_another_one_named(runtime: Path, own: Path, mode: int):
    """Such as a run under sudo leaves: nobody but its owner can change its mode, and what is in it is to be kept."""
    models = own / "models"
    models.mkdir()
    models.chmod(mode)
    os.chown(models, 12345, -1)
    _, check = check_permissions()
    assert (check.verdict, check.text) == ("problem", f"others can change what is in {models}")
    assert check.advice == f"`sudo chown -R 0 '{models}'`, or set CODELLAMA_LS_MODELS to a folder of yours."


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_folder_of_roots_is_no_danger_but_of_no_use(runtime: Path, own: Path, monkeypatch):
    """Neither can be put right by making a folder, or by removing one with models in it."""
    models = own / "models"
    models.mkdir(mode=0o755)
    os.chown(own, 12345, -1)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    _, check = check_permissions()
    assert (check.verdict, check.text) == ("warning", f"root's, so that you can keep nothing there: {models}")
    assert check.advice == f"`sudo chown -R 12345 '{models}'`, or set CODELLAMA_LS_MODELS to a folder of yours."


def test_place_that_is_no_folder_is_said_as_the_engine_would_say_it(tmp_path: Path, own: Path, monkeypatch):
    (tmp_path / "codellama-ls").write_text("a file")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    check = next(check_permissions())
    assert check.verdict == "problem"
    assert str(tmp_path / "codellama-ls") in check.text
