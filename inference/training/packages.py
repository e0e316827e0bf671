"""Fetch the published packages for training and evaluating the starter's adapter, through pip and npm.

``python -m inference.training.packages FOLDER`` fills ``FOLDER/train`` for ``tune`` and ``FOLDER/judge`` for ``eval``.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from inference.errors import CodeLlamaError
from inference.system.child_processes import python_module
from inference.text.source_files import read_sources

PACKAGE_LIST = Path(__file__).with_name("starter_adapter") / "sources.toml"


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch all packages. Return exit status 0, 1 if one can't be fetched, 2 for wrong usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m inference.training.packages FOLDER\n")
        return 2
    root = Path(arguments[0])
    try:
        for part, registries in tomllib.loads(PACKAGE_LIST.read_text("utf-8")).items():
            for registry, names in registries.items():
                for name in names:
                    fetch(registry, name, root / part / registry)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{' '.join(error.cmd[:3])} failed: {error.stderr.strip().splitlines()[-1]}\n")
        return 1
    copies = remove_copies(root / "train", root / "judge")
    sys.stderr.write(f"The packages are in {root}; removed {copies} files of judge that are also in train.\n")
    return 0


class ChecksumError(CodeLlamaError, RuntimeError):
    """The archive from the registry does not have the pinned checksum."""


def package_folder(name: str, folder: Path) -> Path:
    """Return the folder of a fetched package below ``folder``."""
    return folder / name.replace("/", "__")


def fetch(registry: str, name: str, folder: Path, sha256: str = "") -> None:
    """Fetch and unpack one package below ``folder``, unless it exists. None of its code is run.

    Raises CalledProcessError, and ChecksumError if ``sha256`` is given and differs.
    """
    target = package_folder(name, folder)
    if target.exists():
        return
    sys.stderr.write(f"{registry}: {name}\n")
    with tempfile.TemporaryDirectory() as work:
        _run(_command(registry, name), Path(work))
        archive = next(Path(work).iterdir())
        _check(name, archive, sha256)
        content = Path(work) / "unpacked"
        if registry == "pypi":
            shutil.unpack_archive(archive, content, "zip")
        else:
            shutil.unpack_archive(archive, content, "gztar", filter="data")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(content, target)


def _check(name: str, archive: Path, sha256: str) -> None:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if sha256 and found != sha256:
        raise ChecksumError(
            f"The archive of {name} is not the pinned one: its SHA-256 is {found}. Check the registry of pip and npm."
        )


def remove_copies(train: Path, judge: Path) -> int:
    """Remove files of ``judge`` that are copies or near copies of files in ``train``. Return their number."""
    trained = read_sources([train]).files
    kept = {file.name for file in read_sources([judge], trained).files}
    other = [judge / file.name for file in read_sources([judge]).files if file.name not in kept]
    for path in other:
        path.unlink()
    return len(other)


def _command(registry: str, name: str) -> list[str]:
    if registry == "npm":
        return ["npm", "pack", "--silent", name]
    return [*python_module("pip"), "download", "--quiet", "--no-deps", "--only-binary=:all:", name]


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())
