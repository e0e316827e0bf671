"""The user's adapters on disk: add, remove, and enable per workspace. Torch-free, for use by language servers."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from filelock import FileLock

from inference.models.adapter_files import (
    CONFIG,
    FORMAT,
    TUNING,
    WEIGHTS,
    Adapter,
    AdapterError,
    check_usable,
    is_base,
    read,
    read_json,
)
from inference.models.catalog import CATALOG
from inference.models.manifest import sync
from inference.models.store import LONGEST_NAME
from inference.system.files import make_private_folder

__all__ = ["Adapter", "AdapterError", "check_usable", "is_base", "read"]

FOLDER_VARIABLE = "CODELLAMA_LS_ADAPTERS"
"""Environment variable that overrides the folder of adapters."""

ENABLED = ".enabled.json"  # not a valid adapter name

AUTO = "auto"
"""The setting's value for "as enabled for the workspace"; not a valid adapter name."""

Stamp = tuple[tuple[int, int, int], ...]
"""Inode, size and modification time of each file: the version of an adapter."""


class AdapterMissingError(AdapterError):
    """No adapter has this name."""


class AdapterNameError(AdapterMissingError):
    """The name is not valid for an adapter."""


def adapters_folder() -> Path:
    """Return the folder of all adapters: ``$CODELLAMA_LS_ADAPTERS``, else ``adapters`` in the user's data folder."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_data_path("codellama-ls", False) / "adapters"


def location(name: str) -> Path:
    """Return the folder of the adapter of this name, whether it exists or not. Raises AdapterNameError."""
    if len(name) > LONGEST_NAME:
        raise AdapterNameError(f"An adapter's name has at most {LONGEST_NAME} characters, not {len(name)}.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise AdapterNameError(f"{name!r} can't name an adapter. Use letters, digits, '.', '_' and '-'.")
    if name == AUTO or name.lower() in CATALOG:
        raise AdapterNameError(f"{name!r} can't name an adapter, because it is reserved. Choose another name.")
    return adapters_folder() / name


def installed() -> dict[str, Adapter]:
    """Return every adapter by name, sorted. Broken ones are included, so that they can be listed and removed."""
    root = adapters_folder()
    folders = sorted(root.iterdir()) if root.is_dir() else []
    return {path.name: _listed(path) for path in folders if path.is_dir() and not path.name.startswith(".")}


def find(name: str) -> Adapter:
    """Return an installed adapter. Raises AdapterMissingError, or AdapterError if it is broken."""
    folder = location(name)
    if not folder.is_dir():
        raise AdapterMissingError(f"There is no adapter {name!r}. `codellama-ls adapters` lists the installed ones.")
    return read(folder)


def stamp(folder: Path) -> Stamp:
    """Return the present version of the adapter in ``folder``; tuning changes it. Raises AdapterMissingError."""
    try:
        stats = [(folder / name).stat() for name in (CONFIG, WEIGHTS)]
    except OSError as error:
        raise AdapterMissingError(f"The adapter in {folder} is gone or can't be read ({error.strerror}).") from error
    return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in stats)


def add(folder: Path, name: str, *, replace: bool = False) -> Adapter:
    """Copy the adapter in ``folder`` to the user's adapters atomically; its tensors are not read.

    ``replace`` replaces an adapter of that name; workspaces that use it keep using it. Raises AdapterError if the name
    is taken, or if there is no adapter in ``folder``.
    """
    read(folder)
    target = location(name)
    with _locked():
        partial, replaced = (target.with_name(f".{name}.{kind}") for kind in ("partial", "replaced"))
        if replaced.exists() and not target.exists():
            replaced.rename(target)  # killed between the two renames below
        if target.exists() and not replace:
            raise AdapterError(f"There is an adapter {name!r} already. Remove it first, or choose another --name.")
        for left in (partial, replaced):
            shutil.rmtree(left, ignore_errors=True)
        _copy(folder, partial)
        if target.exists():
            target.rename(replaced)
        partial.rename(target)
        sync(target.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    return find(name)


def remove(name: str) -> None:
    """Delete an adapter, broken or not, and disable it in all workspaces. Raises AdapterMissingError."""
    target = location(name)
    with _locked():
        if not target.is_dir():
            raise AdapterMissingError(f"There is no adapter {name!r}.")
        _write({workspace: used for workspace, used in enabled().items() if used != name})
        doomed = target.with_name(f".{name}.partial")
        shutil.rmtree(doomed, ignore_errors=True)
        target.rename(doomed)
        shutil.rmtree(doomed)


def enable(name: str, workspace: Path) -> None:
    """Use an adapter in ``workspace`` and the folders below. Raises AdapterError if it is missing or broken."""
    find(name)
    with _locked():
        _write(enabled() | {_resolved(workspace): name})


def disable(workspace: Path) -> str | None:
    """Disable the adapter of ``workspace`` and return its name, if any. A parent folder's adapter still applies."""
    with _locked():
        adapters = enabled()
        name = adapters.pop(_resolved(workspace), None)
        if name is not None:
            _write(adapters)
    return name


def enabled() -> dict[Path, str]:
    """Return the name of the adapter of each workspace. Raises AdapterError if the file can't be read."""
    path = adapters_folder() / ENABLED
    if not path.exists():
        return {}
    content = read_json(path)
    workspaces = content.get("workspaces")
    if content.get("format") != FORMAT or not isinstance(workspaces, dict):
        raise AdapterError(f"{path} is of another version of this program. Delete it and enable your adapters again.")
    return {Path(workspace): str(name) for workspace, name in workspaces.items()}


def enabled_for(workspace: Path) -> str | None:
    """Return the adapter of ``workspace`` or its nearest parent folder with one. Raises AdapterError."""
    adapters = enabled()
    if not adapters:
        return None
    folder = _resolved(workspace)
    return next((adapters[parent] for parent in (folder, *folder.parents) if parent in adapters), None)


def _copy(folder: Path, to: Path) -> None:
    """Copy the files of an adapter and its model card, without other files of its training."""
    to.mkdir(mode=0o700)
    for path in (folder / file for file in (CONFIG, WEIGHTS, TUNING, "README.md")):
        if path.is_file():
            shutil.copyfile(path, to / path.name)
            sync(to / path.name)


def _listed(folder: Path) -> Adapter:
    try:
        return read(folder)
    except AdapterError as error:
        return Adapter(folder.name, folder, problem=str(error))


def _resolved(workspace: Path) -> Path:
    return workspace.expanduser().resolve()


@contextmanager
def _locked() -> Iterator[None]:
    root = adapters_folder()
    make_private_folder(root)
    with FileLock(root / ".lock", mode=0o600):
        yield


def _write(adapters: dict[Path, str]) -> None:
    """Write the file of enabled adapters atomically, readable by this user only because it names folders."""
    content = {"format": FORMAT, "workspaces": {str(workspace): adapters[workspace] for workspace in sorted(adapters)}}
    target = adapters_folder() / ENABLED
    with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=ENABLED, delete=False, encoding="utf-8") as file:
        file.write(json.dumps(content, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(target)
