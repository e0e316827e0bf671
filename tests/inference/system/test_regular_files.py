"""Read a file that may be something else."""

from __future__ import annotations

import os
import socket

import pytest

from inference.system.files import NotRegularError, TooLongError, read_regular


def test_regular_file_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"a\r\n")
    assert read_regular(tmp_path / "a", 3) == b"a\r\n"
    with pytest.raises(TooLongError, match="more than 2 bytes"):
        read_regular(tmp_path / "a", 2)


def test_link_is_followed_only_on_request(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert read_regular(tmp_path / "b", 1) == b"a"
    with pytest.raises(NotRegularError):
        read_regular(tmp_path / "b", 1, follow=False)


@pytest.mark.parametrize("kind", ["fifo", "folder", "socket", "device", "link to a fifo"])
def test_special_file_is_not_opened(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    os.mkfifo("fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link to a fifo").symlink_to("fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        with pytest.raises(NotRegularError):
            read_regular(tmp_path / kind, 10)


def test_fifo_that_replaces_the_file_does_not_block(tmp_path, monkeypatch):
    (tmp_path / "a").touch()
    opened = os.open

    def replaced(path, flags):
        (tmp_path / "a").unlink()
        os.mkfifo(tmp_path / "a")
        return opened(path, flags)

    monkeypatch.setattr(os, "open", replaced)
    with pytest.raises(NotRegularError):
        read_regular(tmp_path / "a", 10)
