"""The socket's place is the user's own, or is not used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from inference.system import runtime_folder as private
from inference.system.runtime_folder import NotPrivateError, bind, runtime_folder, token


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_and_socket_are_for_the_user_alone(runtime: Path):
    with bind(runtime / "engine.sock"):
        assert mode(runtime) == 0o700
        assert mode(runtime / "engine.sock") == 0o600


def test_socket_file_of_a_dead_engine_is_replaced(runtime: Path):
    bind(runtime / "engine.sock").close()
    with bind(runtime / "engine.sock") as listener:
        assert listener.getsockname() == str(runtime / "engine.sock")


def test_without_a_runtime_directory_a_private_folder_among_temporary_files(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(private.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = runtime_folder()
    assert folder == tmp_path / f"codellama-ls-{os.getuid()}"
    assert mode(folder) == 0o700


def test_path_too_long_for_a_socket_falls_back(monkeypatch, tmp_path):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    assert len(str(runtime_folder() / "engine.sock")) <= private.LONGEST_SOCKET_PATH


def test_temporary_folder_with_a_too_long_path_falls_back_to_tmp(monkeypatch, tmp_path):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    monkeypatch.setattr(private.tempfile, "gettempdir", lambda: str(long))
    assert runtime_folder() == Path("/tmp") / f"codellama-ls-{os.getuid()}"


def test_missing_temporary_folder_falls_back_to_tmp(monkeypatch):
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(private.tempfile, "gettempdir", none)
    assert runtime_folder() == Path("/tmp") / f"codellama-ls-{os.getuid()}"


def test_folder_that_cannot_be_made_is_one_sentence(monkeypatch):
    """Nobody can make a folder there, not even root."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/proc/self")
    with pytest.raises(NotPrivateError, match=r"/proc/self/codellama-ls can't be used \(.*\): set XDG_RUNTIME_DIR"):
        runtime_folder()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_read_only_folder_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(NotPrivateError, match=r"can't be used .*Permission denied"):
            runtime_folder()
    finally:
        tmp_path.chmod(0o700)


def test_dangling_link_in_place_of_the_folder_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "codellama-ls").symlink_to(tmp_path / "nowhere")
    with pytest.raises(NotPrivateError, match="is not a folder of yours"):
        runtime_folder()
    assert not (tmp_path / "nowhere").exists()


def test_folder_in_place_of_the_socket_is_one_sentence(runtime: Path):
    (runtime / "engine.sock").mkdir()
    with pytest.raises(NotPrivateError, match=r"engine\.sock is a folder, but a file belongs there\. Remove it\."):
        bind(runtime / "engine.sock")


def test_folder_that_others_may_enter_is_closed(monkeypatch, runtime):
    runtime.chmod(0o755)
    assert mode(runtime_folder()) == 0o700


def test_link_in_place_of_the_folder_is_refused(monkeypatch, tmp_path):
    """Among temporary files somebody else may have put it there."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "codellama-ls").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotPrivateError, match="is not a folder of yours"):
        runtime_folder()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_folder_of_another_user_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "codellama-ls").mkdir()
    os.chown(tmp_path / "codellama-ls", 12345, 12345)
    with pytest.raises(NotPrivateError, match="is not a folder of yours"):
        runtime_folder()


def test_a_token_where_none_can_be_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        NotPrivateError, match=r"no token in .*/file/token \(Not a directory\): choose another --token-file"
    ):
        token(tmp_path / "file" / "token")
