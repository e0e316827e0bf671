"""Folders and files of this program are private to the user, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.system.files import make_private_folder, open_private, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's cache folder, under a umask that leaves everything open."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    old = os.umask(0)
    yield tmp_path / "cache"
    os.umask(old)


def test_all_missing_folders_are_private(cache: Path):
    """``mkdir(mode, parents=True)`` would apply its mode to the last folder only."""
    made = make_private_folder(cache / "codellama-ls" / "models" / "one")
    assert [mode(path) for path in (made, made.parent, made.parent.parent, cache)] == [0o700] * 4


def test_own_open_folder_is_closed_but_no_other(cache: Path):
    own = cache / "codellama-ls"
    own.mkdir(parents=True, mode=0o755)
    make_private_folder(own / "native")
    assert (mode(own), mode(own / "native"), mode(cache)) == (0o700, 0o700, 0o777)


def test_folder_chosen_by_the_user_keeps_its_mode(cache: Path, tmp_path: Path):
    """Models may be on a shared disk."""
    chosen = tmp_path / "codellama-ls"
    chosen.mkdir(mode=0o755)
    assert (make_private_folder(chosen), mode(chosen)) == (chosen, 0o755)


@pytest.mark.usefixtures("cache")
def test_written_file_is_private_and_replaced_whole(tmp_path: Path):
    file = tmp_path / "record"
    file.write_text("a longer text of before")
    file.chmod(0o644)
    write_private(file, "new")
    assert (file.read_text(), mode(file), [one.name for one in tmp_path.iterdir()]) == ("new", 0o600, ["record"])


def test_failed_write_names_the_file_and_leaves_no_other(tmp_path: Path):
    (tmp_path / "record").mkdir()
    with pytest.raises(IsADirectoryError) as error:
        write_private(tmp_path / "record", "new")
    assert (error.value.filename, [one.name for one in tmp_path.iterdir()]) == (str(tmp_path / "record"), ["record"])


@pytest.mark.usefixtures("cache")
def test_opened_file_becomes_private(tmp_path: Path):
    file = tmp_path / "log"
    file.touch(0o644)
    for text in ("a", "b"):
        with open_private(file, "a") as opened:
            opened.write(text)
    assert (file.read_text(), mode(file)) == ("ab", 0o600)


def test_link_is_not_opened_to_write(tmp_path: Path):
    (tmp_path / "log").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"):
        open_private(tmp_path / "log", "a")
    assert not (tmp_path / "target").exists()
