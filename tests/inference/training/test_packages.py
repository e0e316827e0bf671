"""Packages for training and evaluation are pinned and disjoint, and archives are verified."""

from __future__ import annotations

import re
import tomllib
import zipfile
from pathlib import Path

import pytest

from inference.text.source_files import read_sources
from inference.training import packages
from inference.training.packages import PACKAGE_LIST, remove_copies

PINNED = {"pypi": r"[\w.-]+==[\w.]+", "npm": r"(@[\w-]+/)?[\w.-]+@[\d.]+"}


def code(topic: str) -> str:
    return "".join(f"def {topic}_{n}(value):\n    return value + {n}  # {topic} number {n}\n" for n in range(8))


def test_packages_are_pinned_and_used_once() -> None:
    parts = tomllib.loads(PACKAGE_LIST.read_text("utf-8"))
    assert set(parts) == {"train", "judge"}
    names: list[str] = []
    for registries in parts.values():
        for registry, wanted in registries.items():
            assert [name for name in wanted if not re.fullmatch(PINNED[registry], name)] == []
            names += [re.split(r"==|(?<=.)@", name)[0].lower() for name in wanted]
    assert len(names) == len(set(names))


def test_copies_of_training_files_are_removed(tmp_path: Path) -> None:
    files = {"train/a.py": code("a"), "judge/copy.py": code("a").replace("a_7", "z_7"), "judge/own.py": code("own")}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert remove_copies(tmp_path / "train", tmp_path / "judge") == 1
    assert [file.name for file in read_sources([tmp_path / "judge"]).files] == ["own.py"]


def test_archive_with_another_checksum_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry may serve another file under the same name and version, which would change measurements."""

    def download(command: list[str], folder: Path) -> None:
        with zipfile.ZipFile(folder / "a.whl", "w") as archive:
            archive.writestr(zipfile.ZipInfo("a.py"), command[-1])

    monkeypatch.setattr(packages, "_run", download)
    packages.fetch("pypi", "a==1", tmp_path)
    assert (packages.package_folder("a==1", tmp_path) / "a.py").read_text() == "a==1"
    with pytest.raises(packages.ChecksumError, match="The archive of b==1 is not the pinned one"):
        packages.fetch("pypi", "b==1", tmp_path, "0" * 64)
    assert not packages.package_folder("b==1", tmp_path).exists()
