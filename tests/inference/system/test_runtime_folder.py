"""The runtime folder and its files are private to the user, or refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from inference.system import runtime_folder as module
from inference.system.runtime_folder import NotPrivateError, bind_socket, read_or_create_token, runtime_folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_and_socket_are_private(runtime: Path):
    with bind_socket(runtime / "engine.sock"):
        assert mode(runtime) == 0o700
        assert mode(runtime / "engine.sock") == 0o600


def test_socket_file_of_a_dead_engine_is_replaced(runtime: Path):
    bind_socket(runtime / "engine.sock").close()
    with bind_socket(runtime / "engine.sock") as listener:
        assert listener.getsockname() == str(runtime / "engine.sock")


def test_temporary_folder_is_used_without_xdg_runtime_dir(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = runtime_folder()
    assert folder == tmp_path / f"codellama-ls-{os.getuid()}"
    assert mode(folder) == 0o700


def test_path_too_long_for_a_socket_falls_back(monkeypatch, tmp_path):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    assert len(str(runtime_folder() / "engine.sock")) <= module.LONGEST_SOCKET_PATH


def test_temporary_folder_with_a_too_long_path_falls_back_to_tmp(monkeypatch, tmp_path):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(long))
    assert runtime_folder() == Path("/tmp") / f"codellama-ls-{os.getuid()}"


def test_missing_temporary_folder_falls_back_to_tmp(monkeypatch):
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(module.tempfile, "gettempdir", none)
    assert runtime_folder() == Path("/tmp") / f"codellama-ls-{os.getuid()}"


def test_folder_that_cannot_be_created_is_an_error(monkeypatch):
    """Not even root can create a folder there."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/proc/self")
    with pytest.raises(NotPrivateError, match=r"/proc/self/codellama-ls cannot be used \(.*\)\. Set XDG_RUNTIME_DIR"):
        runtime_folder()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_read_only_folder_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(NotPrivateError, match=r"cannot be used .*Permission denied"):
            runtime_folder()
    finally:
        tmp_path.chmod(0o700)


def test_dangling_link_in_place_of_the_folder_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "codellama-ls").symlink_to(tmp_path / "nowhere")
    with pytest.raises(NotPrivateError, match="is not a folder of yours"):
        runtime_folder()
    assert not (tmp_path / "nowhere").exists()


def test_folder_in_place_of_the_socket_is_an_error(runtime: Path):
    (runtime / "engine.sock").mkdir()
    with pytest.raises(NotPrivateError, match=r"engine\.sock is a folder, but a file belongs there\. Remove it\."):
        bind_socket(runtime / "engine.sock")


def test_open_folder_is_closed_to_others(monkeypatch, runtime):
    runtime.chmod(0o755)
    assert mode(runtime_folder()) == 0o700


def test_link_in_place_of_the_folder_is_an_error(monkeypatch, tmp_path):
    """Among temporary files another user may have created it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "target").mkdir()
    (tmp_path / "codellama-ls").symlink_to(tmp_path / "target")
    with pytest.raises(NotPrivateError, match="is not a folder of yours"):
        runtime_folder()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_folder_of_another_user_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "codellama-ls").mkdir()
    os.chown(tmp_path / "codellama-ls", 12345, 12345)
    with pytest.raises(NotPrivateError, match="is not a folder of yours"):
        runtime_folder()


def test_token_file_that_cannot_be_created_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        NotPrivateError, match=r"token file .*/file/token cannot be created \(Not a directory\)\. Choose another"
    ):
        read_or_create_token(tmp_path / "file" / "token")
