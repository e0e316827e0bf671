"""Folders with a manifest of sizes and SHA-256 hashes: published atomically, checked before loading. Torch-free."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inference.system.terminal import OnProgress

MANIFEST = "manifest.json"
FORMAT = 1
"""Version of the manifest and of the files beside it; raised when older ones become unreadable."""
SMALL = 1 << 20
"""Bytes. The content of smaller files is always checked."""


class MismatchError(Exception):
    """The files on disk differ from the manifest."""


@dataclass(frozen=True, slots=True)
class File:
    """The expected size and content of a file."""

    bytes: int
    sha256: str


def read(folder: Path) -> dict[str, Any]:
    """Read a folder's manifest. Raises MismatchError."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        found = manifest["format"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise MismatchError(f"its {MANIFEST} can't be read") from error
    if found != FORMAT:
        raise MismatchError(f"it has format {found}, this version reads format {FORMAT}")
    return manifest


def files(manifest: Mapping[str, Any]) -> dict[str, File]:
    """Return the required size and content of each file, by name. Raises MismatchError."""
    try:
        return {name: File(**record) for name, record in manifest["files"].items()}
    except (TypeError, KeyError, AttributeError) as error:
        raise MismatchError(f"its {MANIFEST} can't be read") from error


def compare(
    folder: Path, expected: Mapping[str, File], full: bool = False, on_progress: OnProgress | None = None
) -> None:
    """Compare sizes, and with ``full`` the content too (SHA-256). Raises MismatchError."""
    for name, file in expected.items():
        path = folder / name
        if not path.is_file():
            raise MismatchError(f"{name} is missing")
        if (size := path.stat().st_size) != file.bytes:
            raise MismatchError(f"{name} has {size:,} bytes instead of {file.bytes:,}")
    if full:
        _compare_content(folder, expected, on_progress)


def check(folder: Path, *, full: bool = False, on_progress: OnProgress | None = None) -> None:
    """Check a folder made by ``publish``: names, sizes and the content of small files, or of all if ``full``.

    Raises MismatchError.
    """
    expected = files(read(folder))
    if {path.name for path in folder.iterdir()} - {MANIFEST} != set(expected):
        raise MismatchError(f"its files are not those of its {MANIFEST}")
    compare(folder, expected, full, on_progress)
    if not full:
        _compare_content(folder, {name: file for name, file in expected.items() if file.bytes <= SMALL}, None)


def write(folder: Path, on_progress: OnProgress | None = None, **entries: Any) -> None:
    """Write the manifest of all files in ``folder``, after their content has reached the disk. Raises OSError."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    hashes = _hash_all(folder, names, on_progress)
    for name in names:
        sync(folder / name)
    recorded = {name: asdict(File((folder / name).stat().st_size, hashes[name])) for name in names}
    manifest = {"format": FORMAT, **entries, "files": recorded}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    sync(folder / MANIFEST)
    sync(folder)


def publish(fill: Callable[[Path], object], where: Path) -> None:
    """Create a folder with ``fill``, write its manifest, and rename it to ``where``. Raises OSError.

    Other users can't write to it, whatever the umask. The caller must hold a lock.
    """
    partial = where.with_name(f".{where.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        fill(partial)
        write(partial)
        for path in (*partial.iterdir(), partial):
            path.chmod(path.stat().st_mode & ~0o022)
        partial.rename(where)
        sync(where.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a folder, file or link. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def sha256(path: Path, on_progress: OnProgress | None = None) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
            done += len(block)
            if on_progress:
                on_progress(done, total)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _compare_content(folder: Path, expected: Mapping[str, File], on_progress: OnProgress | None) -> None:
    try:
        hashes = _hash_all(folder, expected, on_progress)
    except OSError as error:
        raise MismatchError(f"it can't be read: {error}") from error
    for name, file in expected.items():
        if hashes[name] != file.sha256:
            raise MismatchError(f"the content of {name} has changed")


def _hash_all(folder: Path, names: Collection[str], on_progress: OnProgress | None) -> dict[str, str]:
    total = sum((folder / name).stat().st_size for name in names)
    done, hashes = 0, {}
    for name in names:
        start = done
        hashes[name] = sha256(folder / name, lambda n, _, start=start: on_progress and on_progress(start + n, total))
        done += (folder / name).stat().st_size
    return hashes
