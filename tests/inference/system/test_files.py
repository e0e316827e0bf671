"""Folders of this program are made for their user alone, whatever the umask, and those of before are closed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.system.files import make_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's cache folder, and a umask that leaves everything open."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    old = os.umask(0)
    yield tmp_path / "cache"
    os.umask(old)


def test_all_that_is_missing_is_made_for_the_user_alone(cache: Path):
    """Also what lies above the last folder, to which alone ``mkdir(mode, parents=True)`` gives its mode."""
    made = make_private(cache / "codellama-ls" / "models" / "one")
    assert [mode(path) for path in (made, made.parent, made.parent.parent, cache)] == [0o700] * 4


def test_own_folder_of_an_earlier_version_is_closed_and_nobody_elses(cache: Path):
    own = cache / "codellama-ls"
    own.mkdir(parents=True, mode=0o755)
    make_private(own / "native")
    assert (mode(own), mode(own / "native"), mode(cache)) == (0o700, 0o700, 0o777)


def test_folder_that_a_person_chose_stays_as_it_is(cache: Path, tmp_path: Path):
    """Models may lie on a disk that is shared."""
    chosen = tmp_path / "codellama-ls"
    chosen.mkdir(mode=0o755)
    assert (make_private(chosen), mode(chosen)) == (chosen, 0o755)
