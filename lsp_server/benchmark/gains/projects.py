"""The pinned projects of ``gains``: published packages of several languages, and their folders on this machine.

None of them was used to train or evaluate the starter's adapter.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from inference.training.packages import fetch, package_folder

PROJECT_LIST = Path(__file__).with_name("projects.toml")


@dataclass(frozen=True, slots=True)
class Project:
    """One pinned project.

    Attributes:
        registry: ``pypi`` (its wheel) or ``npm``.
        package: name and version as the registry's client takes them.
        sha256: of the archive.
        root: the folder in it that a user would open.
    """

    registry: str
    package: str
    sha256: str
    root: str

    def folder(self, below: Path) -> Path:
        """Return the folder to open, once fetched."""
        return package_folder(self.package, below) / self.root


def pinned() -> list[Project]:
    """Return all projects, in order."""
    return [Project(**one) for one in tomllib.loads(PROJECT_LIST.read_text("utf-8"))["project"]]


def projects_folder() -> Path:
    """Return the folder for projects on this machine."""
    return platformdirs.user_cache_path("codellama-ls", False) / "gains"


def fetch_all(below: Path) -> None:
    """Fetch missing projects. Raises CalledProcessError, ``ChecksumError``."""
    for project in pinned():
        fetch(project.registry, project.package, below, project.sha256)


def fetched(below: Path) -> list[Path]:
    """Return the folders of all projects. Raises FileNotFoundError with a message for the user."""
    folders = [project.folder(below) for project in pinned()]
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        raise FileNotFoundError(
            "The pinned projects are not installed. Run `codellama-ls gains --fetch`, or name folders of your own."
        )
    return folders


def project_name(folder: Path) -> str:
    """Return the name of a project in figures: package and version, or the folder's name."""
    below = projects_folder().resolve()
    return folder.relative_to(below).parts[0] if folder.is_relative_to(below) else folder.name
