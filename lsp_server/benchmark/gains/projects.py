"""The pinned projects that gains are measured on: published packages of several languages, and where they lie here.

None of them taught or judged the starter's adapter. Knows nothing of what is measured.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from inference.training.packages import fetch, unpacked

LIST = Path(__file__).with_name("projects.toml")


@dataclass(frozen=True, slots=True)
class Project:
    """One of the list.

    Attributes:
        registry: ``pypi`` (its wheel) or ``npm``.
        package: name and version, as the registry's client takes them.
        sha256: of the archive.
        root: the folder in it that a person would open.
    """

    registry: str
    package: str
    sha256: str
    root: str

    def folder(self, below: Path) -> Path:
        """What a person would open, once it is fetched."""
        return unpacked(self.package, below) / self.root


def pinned() -> list[Project]:
    """All of the list, in its order."""
    return [Project(**one) for one in tomllib.loads(LIST.read_text("utf-8"))["project"]]


def home() -> Path:
    """Where they are kept on this machine."""
    return platformdirs.user_cache_path("codellama-ls", False) / "gains"


def fetch_all(below: Path) -> None:
    """Fetch what is not there yet. Raises CalledProcessError, ``WrongArchiveError``."""
    for project in pinned():
        fetch(project.registry, project.package, below, project.sha256)


def fetched(below: Path) -> list[Path]:
    """Their folders. Raises FileNotFoundError, in a sentence for the person, where one is missing."""
    folders = [project.folder(below) for project in pinned()]
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        raise FileNotFoundError(
            "The pinned projects are not here: run `codellama-ls gains --fetch`, or name folders of your own."
        )
    return folders


def name_of(folder: Path) -> str:
    """What a project is called in figures: its package and version, or its folder's name."""
    below = home().resolve()
    return folder.relative_to(below).parts[0] if folder.is_relative_to(below) else folder.name
